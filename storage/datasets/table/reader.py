"""Read the plain layout: a folder of videos, and beside them one table that says what they show.

A row says something of one video: its label and, where known, participant, split, question and
consent; a row with `start_ms` and `end_ms` also gives one stretch of A/H. Several rows of one video
give several stretches. A video without a row is a video without a label.

What two rows say against one another is told in the video's issues, as the reader of a release
tells it, and the first holds. What no cell can hold makes the table unreadable; all such faults
are told at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from storage.datasets.dataset import Dataset
from storage.datasets.folder import read_folder
from storage.datasets.intervals import tidy_intervals
from storage.datasets.table.cells import READERS, read_interval
from storage.datasets.table.rows import TableRow, find_label_file, iter_rows
from storage.datasets.table.schema_errors import TableFaults
from storage.errors import DataError
from storage.issues import Issue, IssueKind
from storage.paths import resolve_inside
from storage.records import Interval, VideoRecord

_TOLD_OF = {
    "split": IssueKind.VIDEO_IN_TWO_SPLITS,
    "label": IssueKind.LISTED_WITH_TWO_LABELS,
}  # fmt: skip


@dataclass(slots=True)
class _Told:
    """What the rows read so far say of one video; each fact with the place that said it.

    ``given`` are the columns with a cell, be it one that cannot be read.
    """

    location: str
    facts: dict[str, tuple[Any, str]] = field(default_factory=dict)
    given: set[str] = field(default_factory=set)
    intervals: list[Interval] = field(default_factory=list)
    issues: list[Issue] = field(default_factory=list)

    def fact(self, column: str) -> Any:
        return self.facts.get(column, (None, ""))[0]


def is_table(root: Path) -> bool:
    """Say whether a folder has a table of labels.

    Raises:
        DataError: it has two, or one in another spelling.
    """
    return find_label_file(root) is not None


def read_table(root: Path) -> Dataset:
    """Read the videos under `root` and what the table of labels says of them.

    Raises:
        DataError: the table cannot be read, or rows say what cannot be; names lines and values.
    """
    path = find_label_file(root)
    dataset = read_folder(root)
    videos = {video.path: video for video in dataset.videos}
    message: dict[str, _Told] = {}
    faults = TableFaults()
    with faults.gathered():
        for row in () if path is None else iter_rows(path, faults):
            of_video = _Told(row.location)  # where the name is no video's, its cells are read too
            with faults.gathered():
                of_video = message.setdefault(_video_of(row, root, videos), of_video)
            with faults.gathered():
                _add(of_video, row, faults)
    labelled = []
    for video in dataset.videos:
        with faults.gathered():
            labelled.append(
                _labelled(video, message[video.path]) if video.path in message else video
            )
    faults.refuse()
    return replace(dataset, videos=tuple(labelled))


def _video_of(row: TableRow, root: Path, videos: Mapping[str, VideoRecord]) -> str:
    written = row.cell("video")
    if not written:
        raise DataError(
            f"{row.location}: video is empty: expected a video file's path from the data folder."
        )
    try:
        resolve_inside(root, written)
    except DataError as error:
        raise DataError(f"{row.location}: {error}") from error
    name = PurePosixPath(written).as_posix()
    if name not in videos:
        example = next(iter(videos), "a.mp4")
        raise DataError(
            f"{row.location}: there is no video {written!r} in the data folder: expected a video "
            f"file's path from there, with forward slashes, such as {example!r}."
        )
    return name


def _add(message: _Told, row: TableRow, faults: TableFaults) -> None:
    for column, read in READERS.items():
        if row.cell(column):
            message.given.add(column)
            with faults.gathered():
                _add_fact(message, column, read(row, column), row.location)
    interval = read_interval(row)
    if interval is not None:
        message.location = message.location if message.intervals else row.location
        message.intervals.append(interval)


def _add_fact(message: _Told, column: str, value: Any, location: str) -> None:
    known, first_place = message.facts.setdefault(column, (value, location))
    if known == value:
        return
    if column in _TOLD_OF:
        text = f"{location}: the {column} is {value!r}, but {known!r} at {first_place}"
        message.issues.append(Issue(_TOLD_OF[column], f"{text}: the first holds"))
        return
    raise DataError(
        f"{location}: the {column} is another than for the same video at {first_place}: a video has "
        f"one {column}.",
        details=(f"{column} {known!r} and {value!r}",),
    )


def _labelled(video: VideoRecord, message: _Told) -> VideoRecord:
    label = message.fact("label")
    intervals, repaired = tidy_intervals(message.intervals)
    issues = [*message.issues, *repaired]
    if intervals and "label" not in message.given:
        raise DataError(
            f"{message.location}: a start and an end are where A/H is, but the video has no label: give "
            "it the label 1, or leave the times out."
        )
    if intervals and label == 0:
        text = (
            f"{message.location}: labelled as without A/H, but there are a start and an end of it"
        )
        issues.append(Issue(IssueKind.NEGATIVE_WITH_INTERVALS, text))
    return replace(
        video,
        participant_id=message.fact("participant"),
        split=message.fact("split"),
        question=message.fact("question"),
        label=label,
        intervals=intervals,
        consent_publications=message.fact("consent_publications"),
        consent_challenges=message.fact("consent_challenges"),
        issues=tuple(issues),
    )
