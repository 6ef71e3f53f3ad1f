"""A video's annotation, located on the video as it was decoded."""

from dataclasses import dataclass

from storage.datasets.intervals import clip_intervals, tidy_intervals
from storage.issues import Issue, IssueKind
from storage.records import Interval, VideoRecord

_UNLABELED = "its segments stay unlabeled"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocatedAnnotation:
    """Sorted, disjoint intervals within the video; ``issues`` list what did not fit.

    ``is_localized`` is true if it is known for every part of the video whether it shows A/H;
    ``is_unannotated_positive`` if the video shows A/H at unknown times.
    """

    intervals: tuple[Interval, ...]
    is_localized: bool
    is_unannotated_positive: bool
    issues: tuple[Issue, ...]


def locate(video: VideoRecord, end_ms: int) -> LocatedAnnotation:
    """Clip a video's intervals to its ``end_ms`` milliseconds."""
    clipped, issues = clip_intervals(video.intervals, end_ms)
    intervals, _ = tidy_intervals(clipped)  # the reader already reported what it tidied
    fault = _fault(video, bool(intervals))
    return LocatedAnnotation(
        intervals=intervals,
        is_localized=fault is None and (bool(intervals) or video.label == 0),
        is_unannotated_positive=video.label == 1 and not video.intervals,
        issues=issues if fault is None else (*issues, fault),
    )


def _fault(video: VideoRecord, has_intervals_within: bool) -> Issue | None:
    if not video.intervals:
        return None
    if video.label == 0:
        message = "labeled as without A/H, but A/H intervals are annotated"
        return Issue(IssueKind.NEGATIVE_WITH_INTERVALS, f"{message}: {_UNLABELED}")
    if has_intervals_within:
        return None
    message = "every A/H interval starts after the video's end"
    return Issue(IssueKind.NO_INTERVAL_WITHIN, f"{message}: {_UNLABELED}")
