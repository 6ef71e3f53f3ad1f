"""What a video's annotation says about the parts of the video as it was found."""

from dataclasses import dataclass

from storage.datasets.intervals import clip_intervals, tidy_intervals
from storage.issues import Issue, IssueKind
from storage.records import Interval, VideoRecord

_UNLABELLED = "its segments stay unlabelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocatedAnnotation:
    """Intervals in order and disjoint, within the video; ``issues`` tell what did not fit.

    ``locates`` is true where every part of the video is known to show A/H or not to;
    ``asserts`` where the video is known to show A/H, at times that nobody gave.
    """

    intervals: tuple[Interval, ...]
    locates: bool
    asserts: bool
    issues: tuple[Issue, ...]


def locate(video: VideoRecord, end_ms: int) -> LocatedAnnotation:
    """Lay a video's intervals onto the ``end_ms`` milliseconds it has."""
    clipped, issues = clip_intervals(video.intervals, end_ms)
    intervals, _ = tidy_intervals(clipped)  # the reader tells what it had to put in order
    fault = _fault(video, bool(intervals))
    return LocatedAnnotation(
        intervals=intervals,
        locates=fault is None and (bool(intervals) or video.label == 0),
        asserts=video.label == 1 and not video.intervals,
        issues=issues if fault is None else (*issues, fault),
    )


def _fault(video: VideoRecord, has_intervals_within: bool) -> Issue | None:
    if not video.intervals:
        return None
    if video.label == 0:
        message = "labelled as without A/H, but A/H intervals are annotated"
        return Issue(IssueKind.NEGATIVE_WITH_INTERVALS, f"{message}: {_UNLABELLED}")
    if has_intervals_within:
        return None
    message = "every A/H interval lies after the video's end"
    return Issue(IssueKind.NO_INTERVAL_WITHIN, f"{message}: {_UNLABELLED}")
