"""Annotated times: parse, sort, merge and clip intervals; every change becomes an issue."""

import re
from collections.abc import Iterable, Sequence

from storage.issues import Issue, IssueKind
from storage.records import Interval

END_TOLERANCE_MS = 1_000  # container, decoder and annotation tool differ by less about an end
_MAX_SECONDS = 1000 * 3600
_TIME = re.compile(r"(\d{1,3}):([0-5]?\d):([0-5]?\d)(?:[.,](\d{1,9}))?")


class EmptyInterval(ValueError):
    """An interval that ends where it starts."""


def parse_time_ms(value: object) -> int:
    """Parse `HH:MM:SS.mmm` to milliseconds, rounding finer fractions.

    Numbers are seconds: YAML 1.1 reads an unquoted time as a number in base 60.

    Raises:
        ValueError: the text is not a time, or the number is negative, infinite or NaN.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"the time {value!r} is not HH:MM:SS.mmm")
    if isinstance(value, int | float):
        if not is_seconds(value):
            raise ValueError(f"the time {value!r} is not a number of seconds")
        return round(value * 1000)
    match = _TIME.fullmatch(value.strip())
    if match is None:
        raise ValueError(f"the time {value!r} is not HH:MM:SS.mmm")
    hours, minutes, seconds, fraction = match.groups(default="0")
    whole = (int(hours) * 60 + int(minutes)) * 60 + int(seconds)
    return whole * 1000 + round(int(fraction) * 1000 / 10 ** len(fraction))


def is_seconds(value: float) -> bool:
    """Return whether a number can be a time in a video, in [0, 3,600,000) seconds."""
    return 0 <= value < _MAX_SECONDS


def parse_interval(value: object) -> Interval:
    """Parse a pair of times.

    Raises:
        EmptyInterval: start and end are equal.
        ValueError: it is not a pair of times, or the end is before the start.
    """
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError("it is not a pair of times")
    start_ms, end_ms = (parse_time_ms(time) for time in value)
    if end_ms == start_ms:
        raise EmptyInterval(f"it is empty ({value[0]} to {value[1]})")
    if end_ms < start_ms:
        raise ValueError(f"it is reversed ({value[0]} to {value[1]})")
    return Interval(start_ms=start_ms, end_ms=end_ms)


def tidy_intervals(intervals: Iterable[Interval]) -> tuple[tuple[Interval, ...], tuple[Issue, ...]]:
    """Sort intervals and merge those that overlap or touch; also returns the issues."""
    original = list(intervals)
    ordered = sorted(original, key=lambda interval: (interval.start_ms, interval.end_ms))
    merged: list[Interval] = []
    for interval in ordered:
        if merged and interval.start_ms <= merged[-1].end_ms:
            last = merged.pop()
            end_ms = max(last.end_ms, interval.end_ms)
            interval = Interval(start_ms=last.start_ms, end_ms=end_ms)
        merged.append(interval)
    issues = []
    if ordered != original:
        message = "intervals were not sorted by time: sorted"
        issues.append(Issue(IssueKind.INTERVALS_UNSORTED, message))
    if len(merged) < len(original):
        message = f"intervals overlap or touch: {len(original)} merged to {len(merged)}"
        issues.append(Issue(IssueKind.INTERVALS_OVERLAP, message))
    return tuple(merged), tuple(issues)


def clip_intervals(
    intervals: Sequence[Interval], duration_ms: int
) -> tuple[tuple[Interval, ...], tuple[Issue, ...]]:
    """Clip intervals to the video's duration; also returns the issues.

    An interval that starts after the end, or ends more than `END_TOLERANCE_MS` after it, does not
    belong there: it is dropped.
    """
    clipped: list[Interval] = []
    issues: list[Issue] = []
    for interval in intervals:
        issue = _end_issue(interval, duration_ms)
        if issue is not None:
            issues.append(issue)
        if issue is None or not issue.kind.withholds_labels:
            end_ms = min(interval.end_ms, duration_ms)
            clipped.append(Interval(start_ms=interval.start_ms, end_ms=end_ms))
    return tuple(clipped), tuple(issues)


def _end_issue(interval: Interval, duration_ms: int) -> Issue | None:
    excess_ms = interval.end_ms - duration_ms
    if interval.start_ms >= duration_ms:
        message = f"interval at {interval.start_ms} ms starts after the video's end: dropped"
        return Issue(IssueKind.INTERVAL_AFTER_END, message)
    if excess_ms > END_TOLERANCE_MS:
        message = f"interval ends {excess_ms} ms after the video: dropped"
        return Issue(IssueKind.INTERVAL_FAR_PAST_END, message)
    if excess_ms > 0:
        message = f"interval ends {excess_ms} ms after the video: clipped"
        return Issue(IssueKind.INTERVAL_PAST_END, message)
    return None


def outside(intervals: Iterable[Interval], duration_ms: int) -> tuple[Interval, ...]:
    """Return the time of a video that no interval covers, as sorted, disjoint intervals."""
    gaps: list[Interval] = []
    start_ms = 0
    for interval in tidy_intervals(intervals)[0]:
        end_ms = min(interval.start_ms, duration_ms)
        if start_ms < end_ms:
            gaps.append(Interval(start_ms=start_ms, end_ms=end_ms))
        start_ms = interval.end_ms
    if start_ms < duration_ms:
        gaps.append(Interval(start_ms=start_ms, end_ms=duration_ms))
    return tuple(gaps)


def total_ms(intervals: Iterable[Interval]) -> int:
    """Return the total duration of disjoint intervals."""
    return sum(interval.end_ms - interval.start_ms for interval in intervals)
