"""Combine a video's label and the timed rows of a label table to its annotation.

A row with times labels that stretch of the video: 1 or an empty cell is an interval of A/H, 0 one
without. A row without times labels the whole video. If all timed rows are of A/H, the rest of the
video is without; if some have the label 0, time in no row is unknown.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from storage.datasets.intervals import tidy_intervals
from storage.errors import DataError
from storage.issues import Issue, IssueKind
from storage.records import Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """One timed row; ``label`` is ``None`` if its cell is empty."""

    label: int | None
    interval: Interval
    location: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TableAnnotation:
    """A video's label and intervals, sorted and disjoint; ``issues`` list what was repaired."""

    label: int | None
    intervals: tuple[Interval, ...]
    negative_intervals: tuple[Interval, ...]
    issues: tuple[Issue, ...]


def combine(
    label: int | None, label_location: str, stretches: Sequence[Stretch]
) -> TableAnnotation:
    """Combine the label of the rows without times with the rows that have times.

    Raises:
        DataError: an empty label is ambiguous, or two stretches of different labels overlap; names
            the lines.
    """
    _reject_ambiguous(label, stretches)
    _reject_overlapping(stretches)
    found = [stretch for stretch in stretches if stretch.label != 0]
    intervals, repaired = tidy_intervals(stretch.interval for stretch in found)
    negative, also_repaired = tidy_intervals(s.interval for s in stretches if s.label == 0)
    issues = [*repaired, *also_repaired]
    if label == 0 and found:
        text = f"{found[0].location}: an interval of A/H, but {label_location}"
        message = f"{text} labels the video as without A/H: it stays unlabeled"
        issues.append(Issue(IssueKind.NEGATIVE_WITH_INTERVALS, message))
    return TableAnnotation(
        label=1 if label is None and intervals else label,
        intervals=intervals,
        negative_intervals=negative,
        issues=tuple(issues),
    )


def _reject_ambiguous(label: int | None, stretches: Sequence[Stretch]) -> None:
    """Raise if a timed row has no label and it is unclear which one was meant."""
    unlabeled = next((stretch for stretch in stretches if stretch.label is None), None)
    if unlabeled is None:
        return
    negative = next((stretch for stretch in stretches if stretch.label == 0), None)
    if negative is not None:
        raise DataError(
            f"{unlabeled.location}: a row with times has no label, and {negative.location} marks "
            "a stretch without A/H: label every row of this video that has times with 1 or 0."
        )
    if label is None and all(stretch.label is None for stretch in stretches):
        raise DataError(
            f"{unlabeled.location}: start_ms and end_ms mark A/H, but the video has no label: set "
            "the label to 1 (or 0, if the stretch is without A/H), or leave the times out."
        )


def _reject_overlapping(stretches: Sequence[Stretch]) -> None:
    """Raise if a stretch without A/H overlaps an interval of A/H."""
    last_end: dict[bool, Stretch] = {}  # by label, the stretch so far that ends last
    for stretch in sorted(stretches, key=lambda s: (s.interval.start_ms, s.interval.end_ms)):
        is_negative = stretch.label == 0
        other = last_end.get(not is_negative)
        if other is not None and other.interval.end_ms > stretch.interval.start_ms:
            raise DataError(
                f"{stretch.location}: labeled {stretch.label} from {stretch.interval.start_ms} ms, "
                f"but {other.location} labels until {other.interval.end_ms} ms with {other.label}: "
                "give every moment one label."
            )
        same = last_end.get(is_negative)
        if same is None or same.interval.end_ms < stretch.interval.end_ms:
            last_end[is_negative] = stretch
