from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from storage.issues import Issue, IssueKind
from storage.media_records import FrameTimesRecord
from storage.records import Interval, VideoId
from tasks.export.frames import FRAME_SCHEMA, FramedVideo, frame_table
from tests.builders import a_prediction, a_sample, a_video

VIDEO = VideoId("Videos/7/a b.mp4")


def framed(label: int | None, *intervals: Interval, frame_ms=tuple(range(0, 1_000, 100))):
    return FramedVideo(
        video=a_video(VIDEO, label=label, intervals=intervals),
        times=FrameTimesRecord(video_id=VIDEO, frame_ms=frame_ms, end_ms=1_000),
        samples=[
            a_sample(VIDEO, index, split="val", start_ms=500 * index, end_ms=500 * (index + 1))
            for index in (1, 0)
        ],
        predictions=[a_prediction(f"{VIDEO}#0000", 0.25)],
    )


def test_file_without_video_has_no_frames():
    table = frame_table(framed(1, Interval(start_ms=200, end_ms=600), frame_ms=()), 0.2, "internal")
    assert (table.num_rows, table.schema) == (0, FRAME_SCHEMA)


def test_every_frame_has_its_segments_prediction_and_its_own_label():
    rows = frame_table(framed(1, Interval(start_ms=200, end_ms=600)), 0.2, "internal").to_pylist()
    assert [row["frame"] for row in rows[:2]] == [f"{VIDEO}/frame-0.jpg", f"{VIDEO}/frame-1.jpg"]
    assert [row["label"] for row in rows] == [0, 0, 1, 1, 1, 1, 0, 0, 0, 0]
    assert [row["p_ah"] for row in rows] == [0.25] * 5 + [None] * 5
    assert [row["verdict"] for row in rows] == [1] * 5 + [None] * 5
    assert {(row["split"], row["video_id"], row["purpose"]) for row in rows} == {
        ("val", VIDEO, "internal")
    }


def test_frames_of_a_negative_video_are_labeled_0_and_of_an_unannotated_one_not_at_all():
    for label, expected in ((0, 0), (1, None), (None, None)):
        table = frame_table(framed(label), 0.5, "challenge")
        assert table["label"].unique().to_pylist() == [expected]


def test_frames_of_time_whose_annotation_was_lost_have_no_label():
    lost = (Issue(IssueKind.INTERVAL_UNREADABLE, "lost"),)
    whole = framed(1, Interval(start_ms=200, end_ms=600))
    rows = frame_table(
        replace(whole, video=replace(whole.video, issues=lost)), 0.2, "internal"
    ).to_pylist()
    assert [row["label"] for row in rows] == [None] * 2 + [1] * 4 + [None] * 4


def test_frames_between_stretches_are_unlabeled_if_some_are_without_ah():
    whole = framed(1, Interval(start_ms=200, end_ms=600))
    negative = (Interval(start_ms=700, end_ms=900),)
    video = replace(whole.video, negative_intervals=negative)
    rows = frame_table(replace(whole, video=video), 0.2, "internal").to_pylist()
    assert [row["label"] for row in rows] == [None] * 2 + [1] * 4 + [None] + [0] * 2 + [None]


@given(st.lists(st.integers(0, 999), unique=True).map(sorted))
def test_every_frame_is_one_row_with_its_time(frame_ms):
    table = frame_table(framed(None, frame_ms=tuple(frame_ms)), 0.5, "internal")
    assert table.schema == FRAME_SCHEMA
    assert table["frame_ms"].to_pylist() == frame_ms
