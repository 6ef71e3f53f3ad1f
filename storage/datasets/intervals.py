"""Annotated times: read, put in order, joined, and clipped to a video's length.

Nothing is changed silently: every function also tells what it had to mend or refuse.
"""

import re
from collections.abc import Iterable, Sequence

from storage.issues import Issue, IssueKind
from storage.records import Interval

_MAX_SECONDS = 1000 * 3600
_TIME = re.compile(r"(\d{1,3}):([0-5]?\d):([0-5]?\d)(?:[.,](\d{1,9}))?")


class EmptyInterval(ValueError):
    """An interval that ends where it starts: nothing is lost with it."""


def parse_time_ms(written: object) -> int:
    """Read `HH:MM:SS.mmm` as milliseconds, rounding finer fractions.

    Numbers are taken as seconds: YAML 1.1 reads a time without quotes as a number in base 60.

    Raises:
        ValueError: the text is no such time, or the number is negative or not finite.
    """
    if isinstance(written, bool) or not isinstance(written, str | int | float):
        raise ValueError(f"the time {written!r} is not HH:MM:SS.mmm")
    if isinstance(written, int | float):
        if not is_seconds(written):
            raise ValueError(f"the time {written!r} is not a number of seconds")
        return round(written * 1000)
    found = _TIME.fullmatch(written.strip())
    if found is None:
        raise ValueError(f"the time {written!r} is not HH:MM:SS.mmm")
    hours, minutes, seconds, fraction = found.groups(default="0")
    whole = (int(hours) * 60 + int(minutes)) * 60 + int(seconds)
    return whole * 1000 + round(int(fraction) * 1000 / 10 ** len(fraction))


def is_seconds(written: float) -> bool:
    """Say whether a number may be a time in a video: finite, from 0 on, under a thousand hours."""
    return 0 <= written < _MAX_SECONDS


def parse_interval(written: object) -> Interval:
    """Read a pair of times.

    Raises:
        EmptyInterval: the end is the start.
        ValueError: not a pair, no times, or the end lies before the start.
    """
    if not isinstance(written, list | tuple) or len(written) != 2:
        raise ValueError("it is not a pair of times")
    start_ms, end_ms = (parse_time_ms(time) for time in written)
    if end_ms == start_ms:
        raise EmptyInterval(f"it is empty ({written[0]} to {written[1]})")
    if end_ms < start_ms:
        raise ValueError(f"it is reversed ({written[0]} to {written[1]})")
    return Interval(start_ms=start_ms, end_ms=end_ms)


def tidy_intervals(intervals: Iterable[Interval]) -> tuple[tuple[Interval, ...], tuple[Issue, ...]]:
    """Sort intervals and join those that overlap or touch; also tells which of that was needed."""
    given = list(intervals)
    ordered = sorted(given, key=lambda interval: (interval.start_ms, interval.end_ms))
    joined: list[Interval] = []
    for interval in ordered:
        if joined and interval.start_ms <= joined[-1].end_ms:
            last = joined.pop()
            end_ms = max(last.end_ms, interval.end_ms)
            interval = Interval(start_ms=last.start_ms, end_ms=end_ms)
        joined.append(interval)
    issues = []
    if ordered != given:
        message = "intervals were not in order of time: sorted"
        issues.append(Issue(IssueKind.INTERVALS_UNSORTED, message))
    if len(joined) < len(given):
        message = f"intervals overlap or touch: {len(given)} joined to {len(joined)}"
        issues.append(Issue(IssueKind.INTERVALS_OVERLAP, message))
    return tuple(joined), tuple(issues)


def clip_intervals(
    intervals: Sequence[Interval], duration_ms: int
) -> tuple[tuple[Interval, ...], tuple[Issue, ...]]:
    """Cut intervals off at the end of the video; also tells which reached past it."""
    clipped: list[Interval] = []
    issues: list[Issue] = []
    for interval in intervals:
        over_ms = interval.end_ms - duration_ms
        if interval.start_ms >= duration_ms:
            message = f"interval at {interval.start_ms} ms lies after the video's end: dropped"
            issues.append(Issue(IssueKind.INTERVAL_AFTER_END, message))
            continue
        if over_ms > 0:
            message = f"interval ends {over_ms} ms after the video: clipped"
            issues.append(Issue(IssueKind.INTERVAL_PAST_END, message))
        end_ms = min(interval.end_ms, duration_ms)
        clipped.append(Interval(start_ms=interval.start_ms, end_ms=end_ms))
    return tuple(clipped), tuple(issues)
