import numpy as np

from infra.benchmarks.label_rule import fraction_without, simulate_videos
from tasks.labels.label_rule import LabelRule

VIDEOS = list(simulate_videos(1_500))


def test_simulated_intervals_have_the_published_statistics():
    lengths = [i.end_ms - i.start_ms for video, _ in VIDEOS for i in video.intervals]
    assert abs(np.mean(lengths) / 4_250 - 1) < 0.05
    assert abs(np.std(lengths) / 2_470 - 1) < 0.1
    assert all(video.intervals[-1].end_ms <= duration_ms for video, duration_ms in VIDEOS)


def test_the_larger_fraction_leaves_no_positive_video_without_a_positive_segment():
    """The guide to labels states the fractions of 20,000 videos."""
    smaller, larger = (
        fraction_without(VIDEOS, LabelRule(overlap_unit=unit))
        for unit in ("fraction", "larger_fraction")
    )
    assert 0.14 < smaller < 0.20
    assert larger == 0
