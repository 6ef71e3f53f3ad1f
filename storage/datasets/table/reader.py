"""Read a folder of videos with a label table beside them.

A row describes one video: its label and, if known, participant, split, question and consent. With
`start_ms` and `end_ms`, its label is that of this stretch of the video (`stretches`); several rows
of one video give several stretches. A video without a row has no label.

Rows that contradict one another in the video's label or split become issues of the video. Invalid
cells and stretches that overlap with different labels are errors, which are reported together.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from storage.datasets.dataset import Dataset
from storage.datasets.folder import read_folder
from storage.datasets.table.cells import READERS, read_interval
from storage.datasets.table.label_file import find_label_file
from storage.datasets.table.rows import TableRow, iter_rows
from storage.datasets.table.schema_errors import SchemaErrors
from storage.datasets.table.stretches import Stretch, combine
from storage.datasets.table.video_names import VideoNames
from storage.errors import DataError
from storage.identity import participant_key
from storage.issues import Issue, IssueKind
from storage.records import VideoRecord

_CONTRADICTIONS = {
    "split": (IssueKind.VIDEO_IN_TWO_SPLITS, "the first is used"),
    "label": (IssueKind.LISTED_WITH_TWO_LABELS, "the video stays unlabeled"),
}


@dataclass(slots=True)
class _VideoRows:
    """What the rows read so far contain about one video; each fact with its location.

    ``has_invalid_label`` is true if a label is not missing, but invalid.
    """

    facts: dict[str, tuple[Any, str]] = field(default_factory=dict)
    stretches: list[Stretch] = field(default_factory=list)
    issues: list[Issue] = field(default_factory=list)
    has_invalid_label: bool = False

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
            rows = _VideoRows()  # the cells of an unknown video are checked as well
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
    label: int | None = None
    for column, read in READERS.items():
        if not row.cell(column):
            continue
        with errors.collect():
            value = read(row, column)
            if column == "label":
                label = value
            else:
                _add_fact(rows, column, value, row.location)
    rows.has_invalid_label |= label is None and bool(row.cell("label"))
    interval = read_interval(row)
    if interval is not None:
        rows.stretches.append(Stretch(label=label, interval=interval, location=row.location))
    elif label is not None:
        _add_fact(rows, "label", label, row.location)


def _add_fact(rows: _VideoRows, column: str, value: Any, location: str) -> None:
    known, known_location = rows.facts.setdefault(column, (value, location))
    if known == value:
        return
    if column == "participant" and participant_key(known) == participant_key(value):
        text = f"{location}: the participant is spelled differently at {known_location}"
        rows.issues.append(Issue(IssueKind.PARTICIPANT_SPELLED_TWICE, text))
        return
    if column in _CONTRADICTIONS:
        kind, effect = _CONTRADICTIONS[column]
        text = f"{location}: the {column} is {value!r}, but {known!r} at {known_location}"
        rows.issues.append(Issue(kind, f"{text}: {effect}"))
        return
    raise DataError(
        f"{location}: the {column} differs from that of the same video at {known_location}: give "
        f"each video one {column}.",
        details=(f"{column} {known!r} and {value!r}",),
    )


def _labeled(video: VideoRecord, rows: _VideoRows) -> VideoRecord:
    if rows.has_invalid_label:  # an error already
        return video
    label, label_location = rows.facts.get("label", (None, ""))
    annotation = combine(label, label_location, rows.stretches)
    return replace(
        video,
        participant_id=rows.fact("participant"),
        split=rows.fact("split"),
        question=rows.fact("question"),
        label=annotation.label,
        intervals=annotation.intervals,
        negative_intervals=annotation.negative_intervals,
        consent_publications=rows.fact("consent_publications"),
        consent_challenges=rows.fact("consent_challenges"),
        issues=(*rows.issues, *annotation.issues),
    )
