"""From annotated intervals to segments' labels, by overlap in time."""

from collections.abc import Sequence

from storage.intervals import tidy_intervals
from storage.records import Interval


def overlap_ms(start_ms: int, end_ms: int, intervals: Sequence[Interval]) -> int:
    """Count the milliseconds of ``[start_ms, end_ms)`` that the intervals cover, each once."""
    joined, _ = tidy_intervals(intervals)
    return sum(
        max(0, min(end_ms, interval.end_ms) - max(start_ms, interval.start_ms))
        for interval in joined
    )


def segment_label(*, overlap_share: float, says_where: bool, min_share: float) -> int | None:
    """Decide a segment's label from the share of it that annotated intervals cover.

    Where the annotation does not say which parts of the video show A/H, there is none.
    """
    return int(overlap_share >= min_share) if says_where else None
