from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.datasets.dataset import Dataset
from storage.datasets.doubtful import SHORTEST_PLAUSIBLE_MS, withhold_doubtful
from storage.issues import Issue, IssueKind
from storage.records import Interval, VideoRecord
from tests.builders import a_video

SECONDS = Interval(start_ms=3_000, end_ms=7_000)


def _withheld(*videos: VideoRecord) -> tuple[VideoRecord, ...]:
    return withhold_doubtful(Dataset(root=Path("x"), videos=videos)).videos


@pytest.mark.parametrize(
    "kind",
    [
        IssueKind.ANNOTATIONS_DIFFER, IssueKind.LISTED_WITH_TWO_LABELS,
        IssueKind.SPLIT_CONTRADICTS_ANNOTATION, IssueKind.NEGATIVE_WITH_INTERVALS,
    ],
)  # fmt: skip
@pytest.mark.parametrize("label", [0, 1])
def test_a_video_whose_label_is_contradicted_loses_label_and_intervals(kind, label):
    video = a_video(
        label=label, intervals=(SECONDS,), negative_intervals=(SECONDS,),
        issues=(Issue(kind, "text"),),
    )  # fmt: skip
    (used,) = _withheld(video)
    assert (used.label, used.intervals, used.negative_intervals) == (None, (), ())
    assert used.issues[0] == video.issues[0]
    assert used.has_lost_annotation


def test_intervals_of_a_video_labeled_negative_are_an_issue_whoever_labeled_it():
    (used,) = _withheld(a_video(label=0, intervals=(SECONDS,)))
    assert (used.label, used.intervals) == (None, ())
    assert [issue.kind for issue in used.issues] == [IssueKind.NEGATIVE_WITH_INTERVALS]


def test_intervals_of_a_video_with_an_unreadable_label_are_not_used():
    unreadable = Issue(IssueKind.LABEL_UNREADABLE, "global_ah is 'yes', expected 0 or 1: ignored")
    video = a_video(label=None, intervals=(SECONDS,), issues=(unreadable,))
    assert _withheld(video) == (replace(video, intervals=()),)


def test_other_videos_are_unchanged():
    videos = (
        a_video("a", label=1, intervals=(SECONDS,)), a_video("b", label=0), a_video("c", label=1),
        a_video("d", negative_intervals=(SECONDS,)),
        a_video("e", label=1, issues=(Issue(IssueKind.INTERVAL_UNREADABLE, "text"),)),
    )  # fmt: skip
    assert _withheld(*videos) == videos


short = st.builds(
    lambda start_ms, length: Interval(start_ms=start_ms, end_ms=start_ms + length),
    st.integers(0, 90_000),
    st.integers(1, SHORTEST_PLAUSIBLE_MS - 1),
)


@given(st.lists(st.lists(short, max_size=3), min_size=1, max_size=8), st.booleans(), st.data())
def test_times_are_in_another_unit_if_no_interval_of_the_data_set_is_long(found, is_positive, data):
    field = "intervals" if is_positive else "negative_intervals"
    videos = [
        a_video(str(n), **{"label": 1 if is_positive else None, field: tuple(i)})
        for n, i in enumerate(found)
    ]
    for video, used in zip(videos, _withheld(*videos), strict=True):
        expected = [IssueKind.IMPLAUSIBLE_UNIT] if getattr(video, field) else []
        assert [issue.kind for issue in used.issues] == expected
        assert (used.label, used.intervals, used.negative_intervals) == (video.label, (), ())
    start_ms = data.draw(st.integers(0, 90_000))
    long = Interval(start_ms=start_ms, end_ms=start_ms + SHORTEST_PLAUSIBLE_MS)
    plausible = (*videos, a_video("long", label=1, intervals=(long,)))
    assert _withheld(*plausible) == plausible


@pytest.mark.parametrize("length_ms", [1, 40, 99])
def test_one_short_interval_in_a_data_set_of_plausible_ones_is_kept(length_ms):
    one = a_video("one", label=1, intervals=(Interval(start_ms=5_000, end_ms=5_000 + length_ms),))
    others = [a_video(str(n), label=1, intervals=(SECONDS,)) for n in range(20)]
    assert _withheld(one, *others) == (one, *others)
