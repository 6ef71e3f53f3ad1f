"""From annotated intervals to segments' labels, by overlap in time."""

from collections.abc import Iterable, Sequence

from storage.records import Interval


def merged(intervals: Iterable[Interval]) -> list[Interval]:
    """Sort intervals and join those that touch or overlap, so that no millisecond counts twice."""
    result: list[Interval] = []
    for interval in sorted(intervals, key=lambda i: (i.start_ms, i.end_ms)):
        if result and interval.start_ms <= result[-1].end_ms:
            end_ms = max(result[-1].end_ms, interval.end_ms)
            result[-1] = Interval(start_ms=result[-1].start_ms, end_ms=end_ms)
        elif interval.end_ms > interval.start_ms:
            result.append(interval)
    return result


def overlap_ms(start_ms: int, end_ms: int, intervals: Sequence[Interval]) -> int:
    """Count the milliseconds of ``[start_ms, end_ms)`` that the intervals cover."""
    return sum(
        max(0, min(end_ms, interval.end_ms) - max(start_ms, interval.start_ms))
        for interval in merged(intervals)
    )


def segment_label(
    *, overlap_share: float, video_label: int | None, has_intervals: bool, min_share: float
) -> int | None:
    """Decide a segment's label from the share of it that annotated intervals cover.

    A video labelled positive without intervals does not say where: its segments stay unlabelled.
    """
    if has_intervals:
        return int(overlap_share >= min_share)
    return 0 if video_label == 0 else None
