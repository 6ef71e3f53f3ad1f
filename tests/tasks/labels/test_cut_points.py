import pytest

from storage.records import Interval, VideoRecord
from tasks.labels.cut_points import cut_points_of
from tests.builders import a_video

INTERVALS = (
    Interval(start_ms=5_000, end_ms=7_000),
    Interval(start_ms=1_000, end_ms=2_500),
    Interval(start_ms=2_000, end_ms=3_000),
)


def annotated_video(
    label: int | None, intervals: tuple[Interval, ...] = INTERVALS, split: str | None = "train"
) -> VideoRecord:
    return a_video(label=label, intervals=intervals, split=split)


def test_cut_points_of_a_training_video_are_the_bounds_of_its_merged_intervals():
    assert cut_points_of(annotated_video(1)) == (1_000, 3_000, 5_000, 7_000)


@pytest.mark.parametrize("split", ["val", "test", None])
def test_other_videos_have_no_cut_points(split: str | None):
    assert cut_points_of(annotated_video(1, split=split)) == ()


def test_contradictory_annotation_has_no_cut_points():
    assert cut_points_of(annotated_video(0)) == cut_points_of(annotated_video(None)) == ()
    assert cut_points_of(annotated_video(1, ())) == ()


@pytest.mark.parametrize(("start_ms", "end_ms"), [(1, 4), (0, 99), (8_000, 8_040)])
def test_interval_of_a_few_milliseconds_has_no_cut_points(start_ms: int, end_ms: int):
    short = Interval(start_ms=start_ms, end_ms=end_ms)
    assert cut_points_of(annotated_video(1, (short,))) == ()
    with_others = annotated_video(1, (INTERVALS[0], short))
    assert cut_points_of(with_others) == (5_000, 7_000)
