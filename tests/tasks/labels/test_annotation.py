from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.issues import Issue, IssueKind
from storage.records import Interval, VideoRecord
from tasks.labels.annotation import locate, with_located_label
from tests.builders import a_video

END_MS = 12_000
WITHIN, ACROSS, AFTER, FAR = (
    Interval(start_ms=3_000, end_ms=7_000),
    Interval(start_ms=11_000, end_ms=12_040),
    Interval(start_ms=12_000, end_ms=12_500),
    Interval(start_ms=9_000, end_ms=94_000),
)
WHOLE = (Interval(start_ms=0, end_ms=END_MS),)
REST = (Interval(start_ms=0, end_ms=3_000), Interval(start_ms=7_000, end_ms=END_MS))
LOST = (Issue(IssueKind.INTERVAL_UNREADABLE, "interval 1 of 2 rejected: it is reversed"),)
times = st.integers(0, 2 * END_MS)
intervals = st.lists(
    st.builds(
        lambda a, length: Interval(start_ms=a, end_ms=a + length), times, st.integers(300, 9_000)
    ),
    max_size=8,
)


def labeled_video(label: int | None, *intervals: Interval, **fields: Any) -> VideoRecord:
    return a_video(label=label, intervals=intervals, **fields)


@pytest.mark.parametrize(
    ("label", "found", "unknown", "messages"),
    [
        (1, (WITHIN,), (), []),
        (0, (), (), []),
        (1, (), WHOLE, []),  # positive at unknown times, which the reader reports
        (None, (), WHOLE, []),
        (1, (WITHIN, ACROSS), (), ["ends 40 ms after the video: clipped"]),
        (1, (WITHIN, AFTER), REST, ["at 12000 ms starts after the video's end: dropped"]),
        (1, (WITHIN, FAR), REST, ["ends 82000 ms after the video: dropped"]),
        (1, (AFTER,), WHOLE, ["dropped", "1 of 1 intervals are not within the video"]),
        (1, (FAR,), WHOLE, ["dropped", "1 of 1 intervals are not within the video"]),
        (1, (WITHIN, AFTER, FAR), WHOLE, ["", "", "2 of 3 intervals are not within the video"]),
        (0, (WITHIN,), WHOLE, []),  # contradictions, which the reader reports
        (None, (WITHIN,), WHOLE, []),
    ],
)
def test_annotation_that_does_not_fit_is_reported_and_never_guessed(
    label, found, unknown, messages
):
    located = locate(labeled_video(label, *found), END_MS)
    assert located.unknown == unknown
    assert len(located.issues) == len(messages)
    assert all(part in issue.detail for part, issue in zip(messages, located.issues, strict=True))
    is_unannotated = not found and label in (1, None)
    assert located.is_withheld == (bool(unknown) and not is_unannotated)


@pytest.mark.parametrize(
    ("video", "label"),
    [
        (labeled_video(0), 0), (labeled_video(1), 1), (labeled_video(1, AFTER), 1),
        (labeled_video(0, WITHIN), None), (labeled_video(0, issues=LOST), None),
        (labeled_video(1, issues=LOST), 1), (labeled_video(None, issues=LOST), None),
        (labeled_video(None, negative_intervals=WHOLE), 0),
        (labeled_video(None, negative_intervals=(Interval(start_ms=0, end_ms=11_000),)), 0),
        (labeled_video(None, negative_intervals=(Interval(start_ms=0, end_ms=10_999),)), None),
        (labeled_video(None, negative_intervals=WHOLE, issues=LOST), None),
    ],
)  # fmt: skip
def test_a_video_keeps_its_label_unless_the_annotation_contradicts_it(video, label):
    assert locate(video, END_MS).label == label
    assert with_located_label(video, END_MS) == replace(video, label=label)


@pytest.mark.parametrize(
    ("video", "expected"),
    [
        (labeled_video(1), True), (labeled_video(0), False), (labeled_video(None), False),
        (labeled_video(1, WITHIN), False), (labeled_video(1, AFTER), False),
        (labeled_video(1, issues=LOST), False), (labeled_video(1, negative_intervals=REST), True),
    ],
)  # fmt: skip
def test_only_a_positive_video_without_intervals_is_positive_at_unknown_times(video, expected):
    assert locate(video, END_MS).is_unannotated_positive is expected


def test_an_empty_interval_withholds_time_of_a_positive_video_only():
    empty = (Issue(IssueKind.INTERVAL_EMPTY, "interval 1 of 1 rejected: it is empty"),)
    assert locate(labeled_video(1, WITHIN, issues=empty), END_MS).unknown == REST
    negative = locate(labeled_video(0, issues=empty), END_MS)
    assert (negative.label, negative.unknown) == (0, ())


@given(intervals)
def test_located_intervals_are_sorted_disjoint_and_within_the_video(found):
    located = locate(labeled_video(1, *found), END_MS)
    for group in (located.intervals, located.unknown):
        assert all(0 <= interval.start_ms < interval.end_ms <= END_MS for interval in group)
        assert all(a.end_ms < b.start_ms for a, b in pairwise(group))
    kept = [i for i in found if i.start_ms < END_MS and i.end_ms <= END_MS + 1_000]
    if 2 * len(kept) < len(found):
        kept = []
    assert _covered(located.intervals) == {ms for ms in _covered(kept) if ms < END_MS}
    assert not _covered(located.unknown) & _covered(located.intervals)


@given(intervals, intervals, st.sampled_from([k for k in IssueKind if k.withholds_labels]))
def test_after_a_loss_only_time_within_the_remaining_intervals_is_known(positive, negative, kind):
    lost = (Issue(kind, "lost"),)
    for label in (0, 1, None):
        video = labeled_video(label, *positive, negative_intervals=tuple(negative), issues=lost)
        located = locate(video, END_MS)
        is_harmless = label == 0 and kind is IssueKind.INTERVAL_EMPTY and not positive
        known = set(range(END_MS)) - _covered(located.unknown)
        assert is_harmless or known <= _covered([*positive, *negative])
        assert not located.is_unannotated_positive


@given(intervals, intervals)
def test_time_in_no_stretch_is_unknown_if_some_stretches_are_without_ah(positive, negative):
    shown = _covered(positive)
    negative = [i for i in negative if not shown & set(range(i.start_ms, i.end_ms))]
    video = labeled_video(1, *positive, negative_intervals=tuple(negative))
    located = locate(video, END_MS)
    without = set(range(END_MS)) - _covered(located.unknown) - _covered(located.intervals)
    assert negative == [] or without <= _covered(negative)
    assert positive == [] or without & shown == set()


@pytest.mark.parametrize("duration_s", [4, 17, 60, 3_600])
@pytest.mark.parametrize("field", ["intervals", "negative_intervals"])
@given(data=st.data())
def test_times_in_seconds_are_detected_in_every_video(duration_s, field, data):
    bounds = st.integers(0, duration_s)
    pairs = data.draw(st.lists(st.tuples(bounds, bounds), min_size=1, max_size=4))
    found = [Interval(start_ms=min(p), end_ms=max(p)) for p in pairs if 0 < abs(p[0] - p[1]) < 300]
    label = 1 if field == "intervals" else None
    located = locate(a_video(**{"label": label, field: tuple(found)}), duration_s * 1_000)
    assert [i.kind for i in located.issues] == ([IssueKind.IMPLAUSIBLE_UNIT] if found else [])
    assert located.unknown == (Interval(start_ms=0, end_ms=duration_s * 1_000),)
    assert located.intervals == ()
    assert located.label == label


@pytest.mark.parametrize(
    ("found", "end_ms"),
    [
        ([(1_000, 4_000)], 3_600_000), ([(0, 300)], 3_600_000), ([(8_000, 8_040)], 17_000),
        ([(0, 40)], 17_000), ([(1, 4), (5_000, 9_000)], 17_000),
    ],
)  # fmt: skip
def test_times_in_milliseconds_are_not_taken_for_seconds(found, end_ms):
    stated = tuple(Interval(start_ms=start, end_ms=end) for start, end in found)
    assert locate(labeled_video(1, *stated), end_ms).intervals == stated


def _covered(found) -> set[int]:
    return {ms for i in found for ms in range(i.start_ms, i.end_ms)}
