import pytest

from storage.issues import Issue, IssueKind
from storage.records import Interval, VideoId
from tasks.audit.counts import MEASURES, count_videos, splits_of
from tests.builders import a_video

VIDEOS = (
    a_video("a", split="train", label=1, participant_id="p", question=4,
            intervals=tuple(Interval(start_ms=0, end_ms=ms) for ms in (900_000, 1_800_000)),
            consent_publications=True),
    a_video("b", split="train", label=0, participant_id="p", question=4),
    a_video("c", split="test", label=1, participant_id="q", consent_publications=False),
    a_video("d", split="test", participant_id="q", question=9),
    a_video("e"),
)  # fmt: skip
DURATIONS = {VideoId("a"): 3_600_000, VideoId("b"): 1_800_000, VideoId("d"): 900_000}


def value(name: str, split: str | None) -> float | None:
    (row,) = (r for r in count_videos(VIDEOS, DURATIONS) if (r.name, r.split) == (name, split))
    return row.value


def test_every_measure_is_counted_for_each_split_present_and_for_the_whole():
    rows = list(count_videos(VIDEOS, DURATIONS))
    assert [row.split for row in rows[:: len(MEASURES)]] == ["train", "test", "unsplit", None]
    assert len(rows) == 4 * len(MEASURES)
    assert all(row.subject == "count" and row.meaning and not row.invalidates for row in rows)
    assert splits_of(VIDEOS) == ("train", "test", "unsplit")


@pytest.mark.parametrize(
    ("name", "train", "test", "whole"),
    [
        ("videos", 2, 2, 5),
        ("participants", 1, 1, 2),
        ("participant_unknown", 0, 0, 1),
        ("hours", 1.5, 0.25, 1.75),
        ("ah_hours", 0.5, 0, 0.5),
        ("ah_fraction", 1 / 3, None, 1 / 3),
        ("labeled", 2, 1, 3),
        ("positive", 1, 1, 2),
        ("positive_fraction", 1 / 2, 1, 2 / 3),
        ("question_4", 2, 0, 2),
        ("question_1", 0, 0, 0),
        ("question_other", 0, 2, 3),
        ("publications_yes", 1, 0, 1),
        ("publications_no", 0, 1, 1),
        ("publications_unknown", 1, 1, 3),
        ("challenges_unknown", 2, 2, 5),
    ],
)
def test_videos_are_counted_by_split_and_in_total(name, train, test, whole):
    assert [value(name, split) for split in ("train", "test", None)] == [train, test, whole]


@pytest.mark.parametrize(("end_ms", "hours"), [(3_601_000, 1), (7_200_000, 0)])
def test_annotated_time_past_the_end_of_a_video_is_not_counted(end_ms, hours):
    video = a_video("v", label=1, intervals=(Interval(start_ms=0, end_ms=end_ms),))
    rows = count_videos([video], {VideoId("v"): 3_600_000})
    counted = {row.name: row.value for row in rows}
    assert (counted["hours"], counted["ah_hours"]) == (1, hours)
    assert counted["ah_fraction"] == (hours or None)
    assert counted["withheld_hours"] == 1 - hours


def test_time_whose_annotation_was_lost_is_counted_apart_from_time_without_ah():
    lost = (Issue(IssueKind.INTERVAL_UNREADABLE, "lost"),)
    intervals = (Interval(start_ms=0, end_ms=900_000),)
    videos = [
        a_video("lost", label=1, intervals=intervals, issues=lost),
        a_video("whole", label=1, intervals=intervals), a_video("never", label=None),
    ]  # fmt: skip
    durations = {video.video_id: 3_600_000 for video in videos}
    counted = {row.name: row.value for row in count_videos(videos, durations)}
    assert (counted["ah_hours"], counted["withheld_hours"]) == (0.5, 0.75)
    assert counted["ah_fraction"] == 0.5 / 1.25


def test_fractions_of_an_empty_data_set_are_undefined():
    assert {row.value for row in count_videos([], {}) if row.name.endswith("fraction")} == {None}
