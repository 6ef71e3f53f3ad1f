"""Read a folder of videos with a label table beside them.

A row describes one video: its label and, if known, participant, split, question and consent; with
`start_ms` and `end_ms` also one interval of A/H. Several rows of one video give several intervals.
A video without a row has no label.

Rows that contradict one another in label or split become issues of the video, and the first row is
used. Invalid cells are errors, which are reported together.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from storage.datasets.dataset import Dataset
from storage.datasets.folder import read_folder
from storage.datasets.intervals import tidy_intervals
from storage.datasets.table.cells import READERS, read_interval
from storage.datasets.table.label_file import find_label_file
from storage.datasets.table.rows import TableRow, iter_rows
from storage.datasets.table.schema_errors import SchemaErrors
from storage.datasets.table.video_names import VideoNames
from storage.errors import DataError
from storage.identity import participant_key
from storage.issues import Issue, IssueKind
from storage.records import Interval, VideoRecord

_CONTRADICTIONS = {
    "split": IssueKind.VIDEO_IN_TWO_SPLITS,
    "label": IssueKind.LISTED_WITH_TWO_LABELS,
}  # fmt: skip


@dataclass(slots=True)
class _VideoRows:
    """What the rows read so far contain about one video; each fact with its location.

    ``columns`` have a cell, even if it is invalid. ``location`` is that of the first interval.
    """

    location: str
    facts: dict[str, tuple[Any, str]] = field(default_factory=dict)
    columns: set[str] = field(default_factory=set)
    intervals: list[Interval] = field(default_factory=list)
    issues: list[Issue] = field(default_factory=list)

    def fact(self, column: str) -> Any:
        return self.facts.get(column, (None, ""))[0]


def is_table(root: Path) -> bool:
    """Return whether a folder has a label table.

    Raises:
        DataError: it has two, or a misspelled one.
    """
    return find_label_file(root) is not None


def read_table(root: Path) -> Dataset:
    """Read the videos under `root` and their label table.

    Raises:
        DataError: the table cannot be read or has invalid rows; names lines and values.
    """
    path = find_label_file(root)
    dataset = read_folder(root)
    names = VideoNames(root, tuple(video.path for video in dataset.videos))
    rows_by_video: dict[str, _VideoRows] = {}
    errors = SchemaErrors()
    with errors.collect():
        for row in () if path is None else iter_rows(path, errors):
            rows = _VideoRows(row.location)  # the cells of an unknown video are checked as well
            with errors.collect():
                rows = rows_by_video.setdefault(names.video_of(row), rows)
            with errors.collect():
                _add(rows, row, errors)
    labeled = []
    for video in dataset.videos:
        with errors.collect():
            rows_of_video = rows_by_video.get(video.path)
            labeled.append(_labeled(video, rows_of_video) if rows_of_video else video)
    errors.raise_if_any()
    return replace(dataset, videos=tuple(labeled))


def _add(rows: _VideoRows, row: TableRow, errors: SchemaErrors) -> None:
    for column, read in READERS.items():
        if row.cell(column):
            rows.columns.add(column)
            with errors.collect():
                _add_fact(rows, column, read(row, column), row.location)
    interval = read_interval(row)
    if interval is not None:
        rows.location = rows.location if rows.intervals else row.location
        rows.intervals.append(interval)


def _add_fact(rows: _VideoRows, column: str, value: Any, location: str) -> None:
    known, known_location = rows.facts.setdefault(column, (value, location))
    if known == value:
        return
    if column == "participant" and participant_key(known) == participant_key(value):
        text = f"{location}: the participant is spelled differently at {known_location}"
        rows.issues.append(Issue(IssueKind.PARTICIPANT_SPELLED_TWICE, text))
        return
    if column in _CONTRADICTIONS:
        text = f"{location}: the {column} is {value!r}, but {known!r} at {known_location}"
        rows.issues.append(Issue(_CONTRADICTIONS[column], f"{text}: the first is used"))
        return
    raise DataError(
        f"{location}: the {column} differs from that of the same video at {known_location}: give "
        f"each video one {column}.",
        details=(f"{column} {known!r} and {value!r}",),
    )


def _labeled(video: VideoRecord, rows: _VideoRows) -> VideoRecord:
    label = rows.fact("label")
    intervals, repaired = tidy_intervals(rows.intervals)
    issues = [*rows.issues, *repaired]
    if intervals and "label" not in rows.columns:
        raise DataError(
            f"{rows.location}: start_ms and end_ms mark A/H, but the video has no label: set the "
            "label to 1, or leave the times out."
        )
    if intervals and label == 0:
        text = f"{rows.location}: labeled as without A/H, but with an interval of A/H"
        issues.append(Issue(IssueKind.NEGATIVE_WITH_INTERVALS, text))
    return replace(
        video,
        participant_id=rows.fact("participant"),
        split=rows.fact("split"),
        question=rows.fact("question"),
        label=label,
        intervals=intervals,
        consent_publications=rows.fact("consent_publications"),
        consent_challenges=rows.fact("consent_challenges"),
        issues=tuple(issues),
    )
