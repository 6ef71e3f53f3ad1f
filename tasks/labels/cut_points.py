"""Cut points of training videos under `segment.boundaries = "annotated"`: bounds of A/H intervals.

This is how the paper segments (arXiv 2603.13406), and it leaks: intervals keep their own length
while everything else is split evenly, so a segment's length reveals its label; and there are no
bounds to cut at when the model is used. Validation and test videos are never cut this way.
"""

from storage.datasets.doubtful import SHORTEST_PLAUSIBLE_MS
from storage.datasets.intervals import tidy_intervals
from storage.records import VideoRecord

LENGTHS_LEAK = (
    'Training videos are cut at annotated bounds (segment.boundaries = "annotated"): the lengths '
    "of their segments leak the label. Videos outside training are not cut this way."
)


def cut_points_of(video: VideoRecord) -> tuple[int, ...]:
    """Return the bounds of a training video's intervals in milliseconds; empty for other videos.

    An annotation that contradicts itself (intervals, but not the label 1) has no cut points. Nor
    has an interval of a few frames: its times may be in another unit.
    """
    if video.split != "train" or video.label != 1:
        return ()
    intervals, _ = tidy_intervals(video.intervals)
    return tuple(
        bound
        for interval in intervals
        if interval.end_ms - interval.start_ms >= SHORTEST_PLAUSIBLE_MS
        for bound in (interval.start_ms, interval.end_ms)
    )
