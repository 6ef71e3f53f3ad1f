"""Overlap between a time span and annotated intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

from storage.datasets.intervals import tidy_intervals, total_ms
from storage.records import Interval
from tasks.labels.annotation import LocatedAnnotation


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentOverlap:
    """How much of a segment shows A/H, and of how much that is unknown.

    Attributes:
        duration_ms: Of the segment.
        ms: Time with A/H.
        unknown_ms: Time that may show A/H.
        interval_fraction: Largest fraction of one A/H interval that is in the segment, in [0, 1].
    """

    duration_ms: int
    ms: int
    unknown_ms: int
    interval_fraction: float

    @property
    def fraction(self) -> float:
        """Time with A/H as a fraction of the segment."""
        return self.fraction_of(self.ms)

    def fraction_of(self, ms: int) -> float:
        """Return a time as a fraction of the segment."""
        return ms / self.duration_ms if self.duration_ms else 0.0


def overlap_ms(start_ms: int, end_ms: int, intervals: Sequence[Interval]) -> int:
    """Count the milliseconds of ``[start_ms, end_ms)`` that the union of the intervals covers."""
    joined, _ = tidy_intervals(intervals)
    return sum(_common_ms(start_ms, end_ms, interval) for interval in joined)


def measure_overlap(start_ms: int, end_ms: int, annotation: LocatedAnnotation) -> SegmentOverlap:
    """Measure the overlap of the segment ``[start_ms, end_ms)`` with a video's annotation."""
    return SegmentOverlap(
        duration_ms=end_ms - start_ms,
        ms=overlap_ms(start_ms, end_ms, annotation.intervals),
        unknown_ms=overlap_ms(start_ms, end_ms, annotation.unknown),
        interval_fraction=max(
            (_common_ms(start_ms, end_ms, i) / total_ms([i]) for i in annotation.intervals),
            default=0.0,
        ),
    )


def _common_ms(start_ms: int, end_ms: int, interval: Interval) -> int:
    return max(0, min(end_ms, interval.end_ms) - max(start_ms, interval.start_ms))
