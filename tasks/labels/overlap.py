"""Overlap between a time span and annotated intervals."""

from collections.abc import Sequence

from storage.datasets.intervals import tidy_intervals
from storage.records import Interval


def overlap_ms(start_ms: int, end_ms: int, intervals: Sequence[Interval]) -> int:
    """Count the milliseconds of ``[start_ms, end_ms)`` that the union of the intervals covers."""
    joined, _ = tidy_intervals(intervals)
    return sum(
        max(0, min(end_ms, interval.end_ms) - max(start_ms, interval.start_ms))
        for interval in joined
    )
