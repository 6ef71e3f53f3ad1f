"""Withhold annotation that cannot be trusted, in a data set of either format.

Readers return what the files contain, with an issue for every contradiction. What is used is
decided here: of contradictory labels neither, and no interval in an implausible unit.
"""

from collections.abc import Iterable
from dataclasses import replace

from storage.datasets.dataset import Dataset
from storage.issues import Issue, IssueKind
from storage.records import Interval, VideoRecord

SHORTEST_PLAUSIBLE_MS = 100  # of a data set's longest interval: people show A/H for seconds
_CONTRADICTIONS = frozenset(
    {
        IssueKind.ANNOTATIONS_DIFFER,
        IssueKind.LISTED_WITH_TWO_LABELS,
        IssueKind.SPLIT_CONTRADICTS_ANNOTATION,
        IssueKind.NEGATIVE_WITH_INTERVALS,
    }
)


def withhold_doubtful(dataset: Dataset) -> Dataset:
    """Remove contradictory labels and implausible intervals from the videos.

    A video whose label is contradicted loses label and intervals. So does one with intervals of A/H
    but an unreadable label. If no interval of the whole data set lasts
    `SHORTEST_PLAUSIBLE_MS`, its times are in another unit, and every video loses its intervals.
    """
    videos = [_without_contradiction(video) for video in dataset.videos]
    intervals = [interval for video in videos for interval in _intervals_of(video)]
    if intervals and max(map(_duration_ms, intervals)) < SHORTEST_PLAUSIBLE_MS:
        videos = [_without_intervals(video, len(intervals)) for video in videos]
    return replace(dataset, videos=tuple(videos))


def _without_contradiction(video: VideoRecord) -> VideoRecord:
    issues = video.issues
    kinds = {issue.kind for issue in issues}
    if video.label == 0 and video.intervals and IssueKind.NEGATIVE_WITH_INTERVALS not in kinds:
        text = f"labeled as without A/H, but has {len(video.intervals)} A/H intervals"
        issues = (*issues, Issue(IssueKind.NEGATIVE_WITH_INTERVALS, text))
    is_contradictory = any(issue.kind in _CONTRADICTIONS for issue in issues)
    if is_contradictory or (video.label is None and video.intervals):
        return replace(video, label=None, intervals=(), negative_intervals=(), issues=issues)
    return video


def _without_intervals(video: VideoRecord, num_intervals: int) -> VideoRecord:
    if not _intervals_of(video):
        return video
    text = (
        f"no interval of the data set, of {num_intervals}, lasts {SHORTEST_PLAUSIBLE_MS} ms: its "
        "times are probably in seconds or frames and were read in another unit"
    )
    issue = Issue(IssueKind.IMPLAUSIBLE_UNIT, text)
    return replace(video, intervals=(), negative_intervals=(), issues=(*video.issues, issue))


def _intervals_of(video: VideoRecord) -> Iterable[Interval]:
    return (*video.intervals, *video.negative_intervals)


def _duration_ms(interval: Interval) -> int:
    return interval.end_ms - interval.start_ms
