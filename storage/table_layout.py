"""Read the plain layout: a folder of videos, and beside them one table that says what they show.

A row says something of one video: its label and, where known, participant, split, question and
consent; a row with `start_ms` and `end_ms` also gives one stretch of A/H. Several rows of one video
give several stretches. A video without a row is a video without a label.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, get_args

from storage.dataset import Dataset
from storage.errors import DataError, LeakageError
from storage.folder import read_folder
from storage.intervals import tidy_intervals
from storage.label_table import TableRow, find_label_file, iter_rows
from storage.paths import resolve_inside
from storage.records import Interval, ParticipantId, Split, VideoRecord

_SPLITS = get_args(Split)
_ANSWERS = {"yes": True, "no": False, "true": True, "false": False, "1": True, "0": False}
_WHOLE = re.compile(r"(\d{1,15})(?:\.0*)?")  # data frames write a whole number with gaps as 1.0


@dataclass(slots=True)
class _Told:
    """What the rows read so far say of one video; each fact with the place that said it."""

    place: str
    facts: dict[str, tuple[Any, str]] = field(default_factory=dict)
    intervals: list[Interval] = field(default_factory=list)

    def fact(self, column: str) -> Any:
        return self.facts.get(column, (None, ""))[0]


def is_table(root: Path) -> bool:
    """Say whether a folder has a table of labels.

    Raises:
        DataError: it has two.
    """
    return find_label_file(root) is not None


def read_table(root: Path) -> Dataset:
    """Read the videos under `root` and what the table of labels says of them.

    Raises:
        DataError: the table cannot be read, or a row says what cannot be; names line and value.
        LeakageError: a video stands in two splits.
    """
    path = find_label_file(root)
    dataset = read_folder(root)
    videos = {video.path: video for video in dataset.videos}
    told: dict[str, _Told] = {}
    for row in () if path is None else iter_rows(path):
        name = _video_of(row, root, videos)
        _add(told.setdefault(name, _Told(row.place)), row)
    return replace(
        dataset,
        videos=tuple(
            _labelled(video, told[video.path]) if video.path in told else video
            for video in dataset.videos
        ),
    )


def _video_of(row: TableRow, root: Path, videos: Mapping[str, VideoRecord]) -> str:
    written = row.cell("video")
    try:
        resolve_inside(root, written)
    except DataError as error:
        raise DataError(f"{row.place}: {error}") from error
    name = PurePosixPath(written).as_posix()
    if name not in videos:
        example = next(iter(videos), "a.mp4")
        raise DataError(
            f"{row.place}: there is no video {written!r} in the data folder: expected a video "
            f"file's path from there, with forward slashes, such as {example!r}."
        )
    return name


def _add(told: _Told, row: TableRow) -> None:
    for column, read in _READERS.items():
        if not row.cell(column):
            continue
        value = read(row, column)
        known, place = told.facts.setdefault(column, (value, row.place))
        if known != value:
            _refuse_contradiction(row, column, known, place)
    interval = _interval_of(row)
    if interval is not None:
        told.place = told.place if told.intervals else row.place
        told.intervals.append(interval)


def _refuse_contradiction(row: TableRow, column: str, known: Any, place: str) -> None:
    message = (
        f"{row.place}: the {column} is {row.cell(column)!r}, but {known!r} for the same video at "
        f"{place}: a video has one {column}."
    )
    if column == "split":
        raise LeakageError(message, details=(f"video {row.cell('video')}",))
    if column == "label":
        message += " All rows of a video with A/H have the label 1; only A/H has times."
    raise DataError(message)


def _interval_of(row: TableRow) -> Interval | None:
    if not row.cell("start_ms") and not row.cell("end_ms"):
        return None
    for given, missing in (("start_ms", "end_ms"), ("end_ms", "start_ms")):
        if not row.cell(missing):
            raise DataError(f"{row.place}: there is {given}, but no {missing}: give both or none.")
    start_ms, end_ms = (_whole(row, column) for column in ("start_ms", "end_ms"))
    if end_ms <= start_ms:
        raise DataError(f"{row.place}: end_ms is {end_ms}, expected more than start_ms {start_ms}.")
    return Interval(start_ms=start_ms, end_ms=end_ms)


def _whole(row: TableRow, column: str) -> int:
    found = _WHOLE.fullmatch(row.cell(column))
    if found is None:
        raise _fault(row, column, "a whole number from 0 on")
    return int(found[1])


def _label(row: TableRow, column: str) -> int:
    found = _WHOLE.fullmatch(row.cell(column))
    if found is None or int(found[1]) > 1:
        raise _fault(row, column, "1 (A/H is present), 0 (it is not) or nothing (unknown)")
    return int(found[1])


def _split(row: TableRow, column: str) -> str:
    if row.cell(column) not in _SPLITS:
        raise _fault(row, column, f"{', '.join(_SPLITS)} or nothing")
    return row.cell(column)


def _participant(row: TableRow, column: str) -> ParticipantId:
    return ParticipantId(row.cell(column))


def _consent(row: TableRow, column: str) -> bool:
    answer = _ANSWERS.get(row.cell(column).lower())
    if answer is None:
        raise _fault(row, column, "yes, no or nothing")
    return answer


def _fault(row: TableRow, column: str, expected: str) -> DataError:
    return DataError(f"{row.place}: {column} is {row.cell(column)!r}, expected {expected}.")


_READERS: dict[str, Callable[[TableRow, str], Any]] = {
    "label": _label,
    "participant": _participant,
    "split": _split,
    "question": _whole,
    "consent_publications": _consent,
    "consent_challenges": _consent,
}


def _labelled(video: VideoRecord, told: _Told) -> VideoRecord:
    intervals, issues = tidy_intervals(told.intervals)
    if intervals and told.fact("label") != 1:
        raise DataError(
            f"{told.place}: a start and an end are where A/H is, but the video's label is "
            f"{told.fact('label')!r}: give it the label 1, or leave the times out."
        )
    return replace(
        video,
        participant_id=told.fact("participant"),
        split=told.fact("split"),
        question=told.fact("question"),
        label=told.fact("label"),
        intervals=intervals,
        consent_publications=told.fact("consent_publications"),
        consent_challenges=told.fact("consent_challenges"),
        issues=issues,
    )
