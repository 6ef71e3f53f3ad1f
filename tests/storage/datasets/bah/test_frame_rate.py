import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.datasets.bah.frame_rate import one_rate_fits
from storage.records import Interval

intervals = st.builds(
    lambda start_ms, length: Interval(start_ms=start_ms, end_ms=start_ms + length),
    st.integers(0, 60_000),
    st.integers(1, 20_000),
)


@given(
    st.lists(intervals, max_size=5),
    st.sampled_from([23.976, 24, 25, 29.97, 30, 50, 60]),
    st.lists(st.sampled_from([-1, 0, 1]), min_size=10, max_size=10),
)
def test_frames_counted_at_any_rate_and_rounded_any_way_agree(found, rate, off_by):
    pairs = []
    for number, interval in enumerate(found):
        bounds = [interval.start_ms * rate / 1000, interval.end_ms * rate / 1000]
        turned = off_by[2 * number : 2 * number + 2]
        frames = [max(0, round(at) + by) for at, by in zip(bounds, turned, strict=True)]
        pairs.append((interval, frames))
    assert one_rate_fits(pairs)


@pytest.mark.parametrize(
    ("times_ms", "frames"),
    [
        ([(1721, 4410)], [[51, 95]]),  # 29.6 frames a second at the start, 21.5 at the end
        ([(0, 2000)], [[30, 60]]),
        ([(1000, 2000), (10_000, 12_000)], [[30, 60], [250, 300]]),  # 30, then 25
        ([(1000, 2000)], [[1, 2]]),  # one frame a second is no video
    ],
)
def test_frames_that_no_single_rate_fits_disagree(times_ms, frames):
    given_intervals = [Interval(start_ms=a, end_ms=b) for a, b in times_ms]
    assert not one_rate_fits(zip(given_intervals, frames, strict=True))


@pytest.mark.parametrize("frames", [None, "51", [51], [51, "95"], [-1, 95], [True, 95], [5.5, 9]])
def test_an_invalid_pair_of_frames_is_ignored(frames):
    assert one_rate_fits([(Interval(start_ms=1721, end_ms=4410), frames)])
