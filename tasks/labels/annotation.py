"""What a video's annotation says about the parts of the video as it was found."""

from dataclasses import dataclass

from storage.datasets.intervals import clip_intervals, tidy_intervals
from storage.issues import Issue, IssueKind
from storage.records import Interval, VideoRecord

_UNLABELLED = "its segments stay unlabelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocatedAnnotation:
    """Intervals in order and disjoint, within the video; ``issues`` tell what did not fit.

    ``says_where`` is true where every part of the video is known to show A/H or not to;
    ``says_that`` where the video is known to show A/H, at times that nobody gave.
    """

    intervals: tuple[Interval, ...]
    says_where: bool
    says_that: bool
    issues: tuple[Issue, ...]


def locate(video: VideoRecord, end_ms: int) -> LocatedAnnotation:
    """Lay a video's intervals onto the ``end_ms`` milliseconds it has."""
    clipped, issues = clip_intervals(video.intervals, end_ms)
    intervals, _ = tidy_intervals(clipped)  # the reader tells what it had to put in order
    fault = _fault(video, bool(intervals))
    return LocatedAnnotation(
        intervals=intervals,
        says_where=fault is None and (bool(intervals) or video.label == 0),
        says_that=video.label == 1 and not video.intervals,
        issues=issues if fault is None else (*issues, fault),
    )


def _fault(video: VideoRecord, has_intervals_within: bool) -> Issue | None:
    if not video.intervals:
        return None
    if video.label == 0:
        told = "labelled as without A/H, but A/H intervals are annotated"
        return Issue(IssueKind.NEGATIVE_WITH_INTERVALS, f"{told}: {_UNLABELLED}")
    if has_intervals_within:
        return None
    told = "every A/H interval lies after the video's end"
    return Issue(IssueKind.NO_INTERVAL_WITHIN, f"{told}: {_UNLABELLED}")
