import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import FramesFault
from storage.records import AUDIO_SAMPLE_RATE
from tasks.media.plan import PlannedSegment, frames_ms, plan_audio, plan_segments

RATES = [10, 12.5, 24, 24_000 / 1001, 25, 30, 30_000 / 1001, 50, 60]
lengths_ms = st.integers(500, 8_000)
starts = st.floats(-2, 200)


def regular(num_frames: int, rate: float = 25, start: float = 0.0) -> tuple[list[float], float]:
    return [start + n / rate for n in range(num_frames)], start + num_frames / rate


@st.composite
def uneven(draw, max_gap: float):
    """Frames at any times, with no gap longer than ``max_gap``."""
    gaps = draw(st.lists(st.floats(0.001, max_gap), min_size=1, max_size=60))
    times = [draw(starts)]
    for gap in gaps:
        times.append(times[-1] + gap)
    return times[:-1], times[-1]


def check(plan: list[PlannedSegment], times: list[float], end: float, max_ms: int) -> None:
    """Check what holds for every plan."""
    assert [segment.index for segment in plan] == list(range(len(plan)))
    assert (plan[0].first_frame, plan[0].start_ms, plan[0].first_sample) == (0, 0, 0)
    for before, after in pairwise(plan):
        assert (before.end_frame, before.end_ms, before.end_sample) == (
            after.first_frame, after.start_ms, after.first_sample,
        )  # fmt: skip
    assert plan[-1].end_frame == len(times)
    assert plan[-1].end_ms == round((end - times[0]) * 1000)
    assert plan[-1].end_sample == round((end - times[0]) * AUDIO_SAMPLE_RATE)
    assert sum(segment.num_frames for segment in plan) == len(times)
    frame_ms = frames_ms(times)
    for segment in plan:
        assert segment.start_ms <= segment.end_ms <= segment.start_ms + max_ms
        assert segment.num_samples <= max_ms * AUDIO_SAMPLE_RATE // 1000
        assert segment.is_held == (segment.num_frames == 0)
        if segment.is_held:  # the frame before it is displayed all through it
            assert frame_ms[segment.first_frame - 1] < segment.start_ms < segment.end_ms
            assert segment.end_ms <= [*frame_ms, plan[-1].end_ms][segment.first_frame]
            continue
        assert segment.start_ms == frame_ms[segment.first_frame]
        start = times[segment.first_frame] - times[0]
        assert abs(segment.start_ms - start * 1000) <= 0.5 + 1e-6
        assert abs(segment.first_sample - start * AUDIO_SAMPLE_RATE) <= 0.5 + 1e-6


@given(st.integers(1, 4_000), st.sampled_from(RATES), starts, lengths_ms)
def test_regular_frames_are_split_evenly_into_the_fewest_segments(num_frames, rate, start, max_ms):
    times, end = regular(num_frames, rate, start)
    plan = plan_segments(times, end, max_ms)
    check(plan, times, end, max_ms)
    counts = [segment.num_frames for segment in plan]
    assert max(counts) - min(counts) <= 2  # no stub: each boundary moved by half a frame at most
    frames_that_fit = int(max_ms * rate / 1000 + 1e-6)
    assert len(plan) <= -(-num_frames // (frames_that_fit - 1)) if frames_that_fit > 1 else True


@given(uneven(max_gap=0.499), lengths_ms)
def test_uneven_frames_are_covered_without_gap_or_overlap(frames, max_ms):
    times, end = frames
    check(plan_segments(times, end, max_ms), times, end, max_ms)


points = st.lists(st.integers(-1_000, 40_000), max_size=8)


@given(
    st.one_of(uneven(max_gap=0.499), st.builds(regular, st.integers(1, 900))),
    lengths_ms,
    points,
)
def test_boundaries_are_within_one_frame_of_cut_points_and_nothing_is_lost_between_them(
    frames, max_ms, cut_points_ms
):
    times, end = frames
    plan = plan_segments(times, end, max_ms, cut_points_ms)
    check(plan, times, end, max_ms)
    frame_bounds = [*(time - times[0] for time in times), end - times[0]]
    longest_ms = max(after - before for before, after in pairwise(frame_bounds)) * 1000
    bounds = [0, *(segment.end_ms for segment in plan)]
    for point in cut_points_ms:
        within = min(max(point, 0), bounds[-1])
        assert min(abs(bound - within) for bound in bounds) <= longest_ms / 2 + 1


@given(uneven(max_gap=0.499), lengths_ms, points)
def test_order_and_repeats_of_cut_points_do_not_matter(frames, max_ms, cut_points_ms):
    times, end = frames
    plan = plan_segments(times, end, max_ms, cut_points_ms)
    assert plan_segments(times, end, max_ms, [*reversed(cut_points_ms), *cut_points_ms]) == plan
    assert plan_segments(times, end, max_ms, []) == plan_segments(times, end, max_ms)


@given(st.integers(1, 3_000_000), lengths_ms, points)
def test_audio_is_split_evenly_between_cut_points_and_every_sample_is_in_one_segment(
    num_samples, max_ms, cut_points_ms
):
    plan = plan_audio(num_samples, max_ms, cut_points_ms)
    assert (plan[0].start_ms, plan[0].first_sample) == (0, 0)
    assert plan[-1].end_sample == num_samples
    assert plan[-1].end_ms == -(-num_samples // 16)
    for before, after in pairwise(plan):
        assert (before.end_ms, before.end_sample) == (after.start_ms, after.first_sample)
    for index, segment in enumerate(plan):
        assert (segment.index, segment.num_frames) == (index, 0)
        assert segment.first_sample == 16 * segment.start_ms
        assert 0 < segment.end_ms - segment.start_ms <= max_ms
        assert 0 < segment.num_samples <= 16 * max_ms
    bounds = [0, *(segment.end_ms for segment in plan)]
    splits = sorted({0, bounds[-1], *(point for point in cut_points_ms if 0 < point < bounds[-1])})
    assert set(splits) <= set(bounds)
    for start, end in pairwise(splits):
        within = bounds[bounds.index(start) : bounds.index(end) + 1]
        lengths = [after - before for before, after in pairwise(within)]
        assert max(lengths) - min(lengths) <= 1
        assert len(lengths) == -(-(end - start) // max_ms)
    assert plan_audio(num_samples, max_ms, [*reversed(cut_points_ms), *cut_points_ms]) == plan


def test_close_cut_points_make_a_short_segment_and_the_rest_is_split_evenly():
    plan = plan_segments(*regular(500, 25), 5_000, (6_000, 6_400))
    assert [segment.end_ms - segment.start_ms for segment in plan] == [
        3_000, 3_000, 400, 4_520, 4_560, 4_520,
    ]  # fmt: skip


@given(uneven(max_gap=4.999))
def test_any_frames_can_be_cut_if_none_outlasts_a_segment(frames):
    times, end = frames
    check(plan_segments(times, end, 5_000), times, end, 5_000)


@st.composite
def with_stills(draw):
    """Frames at any times; some last for up to 90 s."""
    gap = st.one_of(st.floats(0.001, 2), st.floats(2, 20), st.floats(20, 90))
    gaps = draw(st.lists(gap, min_size=1, max_size=40))
    times = [draw(starts)]
    for length in gaps:
        times.append(times[-1] + length)
    return times[:-1], times[-1]


@given(with_stills(), lengths_ms, st.lists(st.integers(-1_000, 600_000), max_size=8))
def test_a_frame_that_outlasts_a_segment_is_held_in_the_segments_within_it(
    frames, max_ms, cut_points_ms
):
    times, end = frames
    check(plan_segments(times, end, max_ms), times, end, max_ms)
    plan = plan_segments(times, end, max_ms, cut_points_ms)
    check(plan, times, end, max_ms)
    bounds = {0, *(segment.end_ms for segment in plan)}
    frame_ms = [*frames_ms(times), plan[-1].end_ms]
    for start, until in pairwise(frame_ms):
        if until - start > max_ms:
            assert until in bounds
            assert {point for point in cut_points_ms if start < point < until} <= bounds


def test_a_still_frame_is_split_evenly_with_what_comes_before_it():
    times, end = regular(100, 25)
    times = [time + 12 * (n >= 50) for n, time in enumerate(times)]
    plan = plan_segments(times, end + 12, 5_000)
    assert [(s.end_ms - s.start_ms, s.num_frames, s.is_held) for s in plan] == [
        (4_667, 50, False), (4_666, 0, True), (4_667, 0, True), (2_000, 50, False),
    ]  # fmt: skip


@pytest.mark.parametrize("seconds", [600.5, 9_000.0])
def test_a_frame_that_lasts_for_more_than_ten_minutes_is_the_videos_fault(seconds):
    message = rf"the frame at 40 ms lasts for {seconds:.0f} s, longer than 600 s"
    with pytest.raises(FramesFault, match=message):
        plan_segments([0.0, 0.04], 0.04 + seconds, 5_000)


def test_long_frame_in_a_long_video_is_planned_quickly():
    times, end = regular(108_000, 30)
    times = [time if n < 60_000 else time + 20 for n, time in enumerate(times)]
    started = time.monotonic()
    check(plan_segments(times, end + 20, 5_000), times, end + 20, 5_000)
    assert time.monotonic() - started < 20


@pytest.mark.parametrize(
    ("num_frames", "rate", "expected_ms"),
    [
        (1, 25, [40]),
        (5, 25, [200]),
        (125, 25, [5_000]),
        (126, 25, [2_520, 2_520]),
        (250, 25, [5_000, 5_000]),
        (251, 25, [3_360, 3_320, 3_360]),
        (301, 30, [3_333, 3_367, 3_333]),
        (150, 30_000 / 1001, [2_502, 2_503]),
    ],
)
def test_worked_examples(num_frames, rate, expected_ms):
    plan = plan_segments(*regular(num_frames, rate), 5_000)
    assert [segment.end_ms - segment.start_ms for segment in plan] == expected_ms


def test_frames_with_equal_times_stay_in_one_segment():
    times = [n / 25 for n in range(200) for _ in range(2)]
    plan = plan_segments(times, 8.0, 5_000)
    assert [segment.num_frames for segment in plan] == [200, 200]
    assert [segment.start_ms for segment in plan] == [0, 4_000]
