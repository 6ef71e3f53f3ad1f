from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.datasets.intervals import tidy_intervals
from storage.media_records import FrameTimesRecord
from storage.records import Interval, VideoId
from tasks.labels.frame_labels import labels_of_frames, values_of_frames
from tasks.labels.overlap import overlap_ms


def frame_times(frame_ms: list[int], end_ms: int) -> FrameTimesRecord:
    return FrameTimesRecord(video_id=VideoId("v"), frame_ms=tuple(frame_ms), end_ms=end_ms)


def intervals_of_frames(labels: Sequence[int], times: FrameTimesRecord) -> tuple[Interval, ...]:
    """Return each run of frames labeled 1 as an interval that ends with its last frame."""
    bounds_ms = [*times.frame_ms, times.end_ms]
    steps = np.diff([0, *labels, 0])
    firsts, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
    runs = [
        Interval(start_ms=bounds_ms[first], end_ms=bounds_ms[end])
        for first, end in zip(firsts, ends, strict=True)
    ]
    return tidy_intervals(run for run in runs if run.start_ms < run.end_ms)[0]


@st.composite
def clocks(draw: st.DrawFn) -> FrameTimesRecord:
    """Draw frames of any durations, as in a video with a variable frame rate."""
    lengths = draw(st.lists(st.integers(1, 400), min_size=1, max_size=60))
    bounds = [0, *accumulate(lengths)]
    return frame_times(bounds[:-1], bounds[-1])


intervals = st.lists(
    st.builds(
        lambda a, length: Interval(start_ms=a, end_ms=a + length),
        st.integers(0, 9_000),
        st.integers(1, 3_000),
    ),
    max_size=6,
)
CLOCK = frame_times([0, 40, 80, 120, 160], 200)


@pytest.mark.parametrize(
    ("found", "labels"),
    [
        ([(0, 200)], (1, 1, 1, 1, 1)),
        ([], (0, 0, 0, 0, 0)),
        ([(40, 120)], (0, 1, 1, 0, 0)),
        ([(60, 101)], (0, 1, 1, 0, 0)),
        ([(61, 99)], (0, 0, 0, 0, 0)),
        ([(170, 9_000)], (0, 0, 0, 0, 1)),
        ([(0, 10), (30, 40)], (1, 0, 0, 0, 0)),
    ],
)
def test_frame_is_positive_if_half_of_its_display_time_is(found, labels):
    pairs = [Interval(start_ms=start, end_ms=end) for start, end in found]
    assert labels_of_frames(pairs, CLOCK) == labels


@pytest.mark.parametrize(
    ("found", "unknown", "labels"),
    [
        ([], [(0, 200)], (None,) * 5),
        ([(40, 120)], [(0, 40)], (None, 1, 1, 0, 0)),
        ([(60, 120)], [(0, 60)], (None, 1, 1, 0, 0)),
        ([(61, 120)], [(0, 61)], (None, None, 1, 0, 0)),
        ([(61, 120)], [(0, 59)], (None, None, 1, 0, 0)),
        ([(61, 120)], [(0, 41)], (None, None, 1, 0, 0)),
        ([(61, 120)], [(0, 40)], (None, 0, 1, 0, 0)),
        ([], [(0, 19), (100, 9_000)], (0, 0, None, None, None)),
    ],
)
def test_frame_has_no_label_if_unknown_time_could_change_it(found, unknown, labels):
    known, open_time = (
        [Interval(start_ms=start, end_ms=end) for start, end in pairs] for pairs in (found, unknown)
    )
    assert labels_of_frames(known, CLOCK, open_time) == labels


@given(clocks(), intervals, intervals, intervals)
def test_unknown_time_removes_labels_and_never_changes_one(times, found, unknown, shown):
    labels = labels_of_frames(found, times, unknown)
    for start, end, label in zip(times.frame_ms, [*times.frame_ms[1:], times.end_ms], labels,
                                 strict=True):  # fmt: skip
        least = overlap_ms(start, end, found)
        most = overlap_ms(start, end, [*found, *unknown])
        assert label == (
            None if 2 * least < end - start <= 2 * most else int(2 * least >= end - start)
        )
    assert None not in labels_of_frames(found, times)


@given(clocks(), intervals)
def test_round_trip_to_frames_moves_bounds_by_at_most_half_a_frame(times, found):
    back = intervals_of_frames(labels_of_frames(found, times), times)
    for start, end in pairwise([*times.frame_ms, times.end_ms]):
        difference = abs(overlap_ms(start, end, back) - overlap_ms(start, end, found))
        assert 2 * difference <= end - start


@given(clocks(), st.data())
def test_intervals_on_frame_boundaries_survive_a_round_trip(times, data):
    bounds = st.sampled_from([*times.frame_ms, times.end_ms])
    pairs = data.draw(st.lists(st.tuples(bounds, bounds), max_size=5))
    found = [Interval(start_ms=min(p), end_ms=max(p)) for p in pairs if p[0] != p[1]]
    assert intervals_of_frames(labels_of_frames(found, times), times) == tidy_intervals(found)[0]


@given(clocks(), st.data())
def test_frame_labels_survive_a_round_trip(times, data):
    labels = data.draw(
        st.lists(st.integers(0, 1), min_size=len(times.frame_ms), max_size=len(times.frame_ms))
    )
    assert labels_of_frames(intervals_of_frames(labels, times), times) == tuple(labels)


@given(clocks(), intervals, st.randoms(use_true_random=False))
def test_order_of_intervals_does_not_matter(times, found, rng):
    shuffled = rng.sample(found, len(found))
    assert labels_of_frames(shuffled, times) == labels_of_frames(found, times)


@given(clocks(), st.sets(st.integers(0, 59), max_size=5), st.randoms(use_true_random=False))
def test_every_frame_has_the_value_of_its_segment(times, boundaries, rng):
    firsts = sorted({0, *(cut for cut in boundaries if cut < len(times.frame_ms))})
    starts = [(times.frame_ms[first], number) for number, first in enumerate(firsts)]
    expected = [sum(first <= frame for first in firsts) - 1 for frame in range(len(times.frame_ms))]
    shuffled = rng.sample(starts, len(starts))
    assert list(values_of_frames(shuffled, times)) == expected


def test_frame_before_all_segments_has_no_value():
    assert values_of_frames([(80, "p")], CLOCK) == (None, None, "p", "p", "p")
    assert values_of_frames([], CLOCK) == (None,) * 5


def test_frames_in_one_millisecond_get_the_same_label():
    crowded = frame_times([0, 1, 1, 1, 2], 3)
    assert labels_of_frames([Interval(start_ms=0, end_ms=3)], crowded) == (1,) * 5
    assert intervals_of_frames([0, 1, 0, 0, 0], crowded) == ()


def test_ten_minutes_of_frames_are_labeled():
    times = frame_times([40 * n for n in range(15_000)], 600_000)
    found = [Interval(start_ms=1_000 * n, end_ms=1_000 * n + 400) for n in range(0, 600, 2)]
    labels = labels_of_frames(found, times)
    assert sum(labels) == 300 * 10
    assert intervals_of_frames(labels, times) == tuple(found)
