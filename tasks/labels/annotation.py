"""A video's annotation, located on the video as it was decoded."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from storage.datasets.intervals import (
    END_TOLERANCE_MS,
    clip_intervals,
    outside,
    tidy_intervals,
    total_ms,
)
from storage.issues import Issue, IssueKind
from storage.records import Interval, VideoRecord

_MS_PER_SECOND = 1000
_LONGEST_IN_SECONDS_MS = 300  # an interval of 5 minutes whose times in seconds are read as ms


@dataclass(frozen=True, slots=True, kw_only=True)
class LocatedAnnotation:
    """What is known about the time of a video, in sorted, disjoint intervals within it.

    Time in neither kind of interval is without A/H.

    Attributes:
        label: The label of the whole video; ``None`` if unknown or contradictory.
        intervals: Time with A/H.
        unknown: Time for which the annotation leaves open whether it shows A/H.
        is_unannotated_positive: The video shows A/H, at unknown times.
        is_withheld: Time is unknown because annotation was lost, contradicts itself or does not
            fit the video.
        issues: What did not fit the video.
    """

    label: int | None
    intervals: tuple[Interval, ...] = ()
    unknown: tuple[Interval, ...] = ()
    is_unannotated_positive: bool = False
    is_withheld: bool = False
    issues: tuple[Issue, ...] = ()


def locate(video: VideoRecord, end_ms: int) -> LocatedAnnotation:
    """Locate a video's annotation on its ``end_ms`` milliseconds.

    A lost interval may have been anywhere: then only time within the remaining intervals is known.
    """
    if video.label != 1 and video.intervals:
        return LocatedAnnotation(label=None, unknown=_whole(end_ms), is_withheld=True)
    if _is_in_seconds(video, end_ms):
        return _untrusted(video, end_ms, (_unit_issue(video, end_ms),))
    positive, issues = clip_intervals(video.intervals, end_ms)
    negative, also_issues = clip_intervals(video.negative_intervals, end_ms)
    issues += also_issues
    num_within = len(positive) + len(negative)
    num_dropped = len(video.intervals) + len(video.negative_intervals) - num_within
    if num_dropped > num_within:
        return _untrusted(video, end_ms, (*issues, _dropped_issue(num_dropped, num_within)))
    is_lost = video.has_lost_annotation or num_dropped > 0
    intervals, _ = tidy_intervals(positive)  # the reader already reported what it tidied
    known = (*positive, *negative)
    is_open = is_lost or video.label is None or _is_partial(video)
    unknown = outside(known, end_ms) if is_open else ()
    return LocatedAnnotation(
        label=_label_of(video, negative, unknown, is_lost),
        intervals=intervals,
        unknown=unknown,
        is_unannotated_positive=video.label == 1 and not video.intervals and not is_lost,
        is_withheld=is_lost and bool(unknown),
        issues=issues,
    )


def with_located_label(video: VideoRecord, end_ms: int) -> VideoRecord:
    """Return a video with the label that it has in the manifest."""
    return replace(video, label=locate(video, end_ms).label)


def _is_partial(video: VideoRecord) -> bool:
    """Return whether a positive video's annotation does not state what the rest of it shows."""
    return video.label == 1 and (bool(video.negative_intervals) or not video.intervals)


def _label_of(
    video: VideoRecord, negative: Sequence[Interval], unknown: Sequence[Interval], is_lost: bool
) -> int | None:
    """Return the video's label; 0 too if intervals without A/H cover it, but for the tolerance."""
    if is_lost and video.label == 0:
        return None
    covered = video.label is None and bool(negative) and not is_lost
    return 0 if covered and total_ms(unknown) <= END_TOLERANCE_MS else video.label


def _untrusted(video: VideoRecord, end_ms: int, issues: tuple[Issue, ...]) -> LocatedAnnotation:
    """Keep only the label of a video whose times do not fit it."""
    return LocatedAnnotation(
        label=video.label, unknown=_whole(end_ms), is_withheld=True, issues=issues
    )


def _is_in_seconds(video: VideoRecord, end_ms: int) -> bool:
    """Return whether times in seconds were probably read as milliseconds.

    Then all of them are in the first thousandth of the video, where real intervals hardly are.
    """
    intervals = (*video.intervals, *video.negative_intervals)
    return bool(intervals) and all(
        interval.end_ms - interval.start_ms < _LONGEST_IN_SECONDS_MS
        and interval.end_ms <= end_ms / _MS_PER_SECOND + 1
        for interval in intervals
    )


def _unit_issue(video: VideoRecord, end_ms: int) -> Issue:
    last_ms = max(i.end_ms for i in (*video.intervals, *video.negative_intervals))
    text = (
        f"all intervals end by {last_ms} ms of a video of {end_ms} ms: their times are probably in "
        "seconds"
    )
    return Issue(IssueKind.IMPLAUSIBLE_UNIT, f"{text}: give milliseconds")


def _dropped_issue(num_dropped: int, num_within: int) -> Issue:
    text = f"{num_dropped} of {num_dropped + num_within} intervals are not within the video"
    return Issue(IssueKind.NO_INTERVAL_WITHIN, f"{text}: its segments stay unlabeled")


def _whole(end_ms: int) -> tuple[Interval, ...]:
    return outside((), end_ms)
