from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.datasets.intervals import (
    clip_intervals,
    outside,
    parse_interval,
    parse_time_ms,
    tidy_intervals,
    total_ms,
)
from storage.issues import Issue, IssueKind
from storage.records import Interval

times = st.integers(0, 200)
intervals = st.builds(
    lambda start_ms, length: Interval(start_ms=start_ms, end_ms=start_ms + length),
    times,
    st.integers(1, 60),
)


def _covered(given_intervals) -> set[int]:
    return {ms for i in given_intervals for ms in range(i.start_ms, i.end_ms)}


@given(st.integers(0, 999), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_a_formatted_time_is_parsed_to_the_millisecond(hours, minutes, seconds, thousandths):
    written = f"{hours:02d}:{minutes:02d}:{seconds:02d}.{thousandths:03d}"
    expected = ((hours * 60 + minutes) * 60 + seconds) * 1000 + thousandths
    assert parse_time_ms(written) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("00:00:01.721", 1721),
        ("0:0:5", 5000),
        ("00:00:01,5", 1500),
        ("00:00:01.7215", 1722),
        (" 00:01:00.000 ", 60_000),
        (1.721, 1721),
        (4, 4000),
    ],
)
def test_times_are_parsed_in_every_format(written, expected):
    assert parse_time_ms(written) == expected


@pytest.mark.parametrize(
    "written",
    [
        "",
        "1.5",
        "00:60:00.0",
        "00:00:61",
        "-00:00:01",
        "soon",
        None,
        True,
        -1,
        float("nan"),
        3.6e6,
        10**400,
        [],
    ],
)
def test_invalid_times_are_rejected(written):
    with pytest.raises(ValueError, match="the time"):
        parse_time_ms(written)


@given(st.text(alphabet="0123456789:., -", max_size=14))
def test_any_text_is_a_time_from_zero_or_rejected(written):
    try:
        time_ms = parse_time_ms(written)
    except ValueError:
        return
    assert time_ms >= 0
    assert written.count(":") == 2


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        (["00:00:02.000", "00:00:02.000"], "empty"),
        (["00:00:03.000", "00:00:02.000"], "reversed"),
        (["00:00:03.000"], "pair"),
        ("00:00:03.000", "pair"),
        (None, "pair"),
        (["00:00:01.000", "later"], "later"),
    ],
)
def test_invalid_intervals_are_rejected_with_the_reason(written, fault):
    with pytest.raises(ValueError, match=fault):
        parse_interval(written)


@given(st.lists(intervals, max_size=8))
def test_tidied_intervals_cover_the_same_milliseconds_sorted_and_disjoint(given_intervals):
    tidy, issues = tidy_intervals(given_intervals)
    assert _covered(tidy) == _covered(given_intervals)
    assert all(a.end_ms < b.start_ms for a, b in pairwise(tidy))
    assert bool(issues) == (list(tidy) != given_intervals)
    assert tidy_intervals(tidy) == (tidy, ())


@given(st.lists(intervals, max_size=8), times)
def test_clipping_keeps_exactly_what_is_in_the_video(given_intervals, duration_ms):
    tidy, _ = tidy_intervals(given_intervals)  # all shorter than the tolerance
    clipped, issues = clip_intervals(tidy, duration_ms)
    assert _covered(clipped) == {ms for ms in _covered(tidy) if ms < duration_ms}
    assert all(interval.start_ms < interval.end_ms for interval in clipped)
    assert bool(issues) == (clipped != tidy)


@pytest.mark.parametrize("duration_ms", [500, 17_000, 3_600_000])
@pytest.mark.parametrize(
    ("excess_ms", "kind"),
    [
        (0, None), (1, "interval_past_end"), (1_000, "interval_past_end"),
        (1_001, "interval_far_past_end"), (82_000, "interval_far_past_end"),
    ],
)  # fmt: skip
def test_an_interval_that_ends_far_past_the_video_is_dropped(duration_ms, excess_ms, kind):
    interval = Interval(start_ms=400, end_ms=duration_ms + excess_ms)
    clipped, issues = clip_intervals([interval], duration_ms)
    assert [issue.kind.value for issue in issues] == ([kind] if kind else [])
    is_kept = excess_ms <= 1_000
    assert clipped == ((Interval(start_ms=400, end_ms=duration_ms),) if is_kept else ())


@given(st.lists(intervals, max_size=8), times)
def test_outside_is_exactly_the_time_in_no_interval(given_intervals, duration_ms):
    gaps = outside(given_intervals, duration_ms)
    assert _covered(gaps) == set(range(duration_ms)) - _covered(given_intervals)
    assert tidy_intervals(gaps) == (gaps, ())
    assert total_ms(gaps) == len(_covered(gaps))


def test_clipping_reports_how_far_an_interval_exceeded_the_end():
    clipped, issues = clip_intervals([Interval(start_ms=0, end_ms=1007)], 1000)
    assert clipped == (Interval(start_ms=0, end_ms=1000),)
    message = "interval ends 7 ms after the video: clipped"
    assert issues == (Issue(IssueKind.INTERVAL_PAST_END, message),)


def test_an_interval_that_ends_with_the_video_is_unchanged():
    touching = (Interval(start_ms=400, end_ms=1000),)
    assert clip_intervals(touching, 1000) == (touching, ())
