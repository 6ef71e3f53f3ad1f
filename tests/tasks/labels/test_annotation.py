from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.records import Interval, VideoRecord
from tasks.labels.annotation import locate
from tests.builders import a_video

END_MS = 12_000
WITHIN, ACROSS, AFTER = (
    Interval(start_ms=3_000, end_ms=7_000),
    Interval(start_ms=11_000, end_ms=12_040),
    Interval(start_ms=12_000, end_ms=12_500),
)
times = st.integers(0, 2 * END_MS)
intervals = st.lists(
    st.builds(
        lambda a, length: Interval(start_ms=a, end_ms=a + length), times, st.integers(1, 9_000)
    ),
    max_size=8,
)


def labeled_video(label: int | None, *intervals: Interval) -> VideoRecord:
    return a_video(label=label, intervals=intervals)


@pytest.mark.parametrize(
    ("label", "found", "expected", "messages"),
    [
        (1, (WITHIN,), True, []),
        (None, (WITHIN,), True, []),
        (0, (), True, []),
        (1, (), False, []),  # positive at unknown times, which the reader reports
        (None, (), False, []),
        (1, (WITHIN, ACROSS), True, ["ends 40 ms after the video: clipped"]),
        (1, (WITHIN, AFTER), True, ["at 12000 ms starts after the video's end: dropped"]),
        (1, (AFTER,), False, ["dropped", "every A/H interval starts after the video's end"]),
        (0, (WITHIN,), False, ["labeled as without A/H, but A/H intervals are annotated"]),
        (0, (AFTER,), False, ["dropped", "labeled as without A/H"]),
    ],
)
def test_annotation_that_does_not_fit_is_reported_and_never_guessed(
    label, found, expected, messages
):
    located = locate(labeled_video(label, *found), END_MS)
    assert located.is_localized is expected
    assert len(located.issues) == len(messages)
    assert all(part in issue.detail for part, issue in zip(messages, located.issues, strict=True))


@pytest.mark.parametrize(
    ("label", "found", "expected"),
    [
        (1, (), True), (0, (), False), (None, (), False), (1, (WITHIN,), False),
        (1, (AFTER,), False),
    ],
)  # fmt: skip
def test_positive_video_without_intervals_is_positive_at_unknown_times(label, found, expected):
    assert locate(labeled_video(label, *found), END_MS).is_unannotated_positive is expected


@given(intervals)
def test_located_intervals_are_sorted_disjoint_and_within_the_video(found):
    located = locate(labeled_video(1, *found), END_MS).intervals
    assert all(0 <= interval.start_ms < interval.end_ms <= END_MS for interval in located)
    assert all(a.end_ms < b.start_ms for a, b in pairwise(located))
    annotated = {ms for i in found for ms in range(i.start_ms, min(i.end_ms, END_MS))}
    assert sum(i.end_ms - i.start_ms for i in located) == len(annotated)
