"""Where a training video is cut under `segment.boundaries = "annotated"`: at its A/H intervals' bounds.

Such cuts are the paper's (arXiv 2603.13406). They leak: an interval lasts as long as it lasts, and
all else is split evenly, so that a segment's length tells its label; and when the model is used
there are no bounds to cut at. Validation and test videos are therefore never cut so.
"""

from storage.datasets.intervals import tidy_intervals
from storage.records import VideoRecord

LENGTHS_LEAK = (
    'Training videos are cut at annotated bounds (segment.boundaries = "annotated"): the lengths of '
    "their segments leak the label, and no other video is ever cut so."
)


def cut_points_of(video: VideoRecord) -> tuple[int, ...]:
    """Give the bounds of a training video's intervals, in milliseconds; none for any other video.

    An annotation that contradicts itself (intervals, but no A/H) labels no segment and marks none.
    """
    if video.split != "train" or video.label == 0:
        return ()
    intervals, _ = tidy_intervals(video.intervals)
    return tuple(bound for i in intervals for bound in (i.start_ms, i.end_ms))
