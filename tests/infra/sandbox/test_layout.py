import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from infra.sandbox.espeak import SpokenWord
from infra.sandbox.layout import (
    annotate,
    format_time,
    invent_details,
    iter_frame_labels,
    write_layout,
)
from infra.sandbox.plan import WorldPlan, WorldSettings, plan_world
from infra.sandbox.truth import VideoTruth

PLAN = plan_world(WorldSettings(num_participants=6))


def _truths(plan: WorldPlan) -> dict:
    spoken = (
        SpokenWord(text="yes i can", start_ms=500, end_ms=1500),
        SpokenWord(text="i love it", start_ms=2000, end_ms=3250),
    )
    return {
        v.video_id: VideoTruth(
            video_id=v.video_id,
            voice="en",
            statements=v.statements,
            sentences=spoken,
            words=spoken,
        )
        for v in plan.videos
    }


def test_annotated_intervals_agree_in_times_frames_and_counts():
    truths = _truths(PLAN)
    for video in PLAN.videos:
        record = annotate(video, truths[video.video_id])
        assert record["global_ah"] == video.label
        count = len(video.intervals)
        keys = ("all_cues", "certainty_ah", "fr_detailed_ah", "time_detailed_ah")
        assert [len(record[key]) for key in keys] == [count] * 4
        for (first, last), interval in zip(record["fr_detailed_ah"], video.intervals, strict=True):
            assert first * 40 <= interval.start_ms < first * 40 + 40
            assert last * 40 <= interval.end_ms < last * 40 + 40


def test_frame_labels_count_from_zero_and_cover_as_much_as_the_intervals():
    for video in PLAN.videos:
        labels = list(iter_frame_labels(video))
        assert labels[0][0] == f"{video.path}/frame-0.jpg"
        assert len(labels) == video.num_frames
        covered = sum(i.end_ms - i.start_ms for i in video.intervals)
        assert sum(label for _, label in labels) * 40 == pytest.approx(covered, abs=80)


@given(st.integers(0, 10**8))
def test_a_time_is_written_so_that_its_parts_add_up(time_ms):
    hours, minutes, seconds = format_time(time_ms).split(":")
    whole, thousandths = seconds.split(".")
    assert (len(minutes), len(whole), len(thousandths)) == (2, 2, 3)
    assert ((int(hours) * 60 + int(minutes)) * 60 + int(whole)) * 1000 + int(thousandths) == time_ms


def test_details_are_reproducible_and_most_participants_consent():
    people = plan_world(WorldSettings(num_participants=300)).participants
    details = [invent_details(person) for person in people]
    assert details == [invent_details(person) for person in people]
    for flag in ("Use in challenges", "Use in publications"):
        assert 0.78 < np.mean([d[flag] == "Yes" for d in details]) < 0.97


def test_the_layout_holds_every_file_of_a_release(tmp_path):
    write_layout(tmp_path, PLAN, _truths(PLAN))
    annotation = (tmp_path / "video_annotation_transcript.yaml").read_text()
    assert "timestamp: !!python/tuple [0.5, 1.5]" in annotation
    assert "&id" not in annotation
    with pytest.raises(yaml.constructor.ConstructorError):
        yaml.safe_load(annotation)
    people = yaml.safe_load((tmp_path / "meta_data.yml").read_text())
    assert set(people) == {str(p.participant_id) for p in PLAN.participants}
    rows = [
        line.split(",", 2)
        for split in ("train", "val", "test")
        for line in (tmp_path / "split" / f"{split}.txt").read_text().splitlines()
    ]
    assert {path: int(label) for path, label, _ in rows} == {v.path: v.label for v in PLAN.videos}
    assert all("," in text for _, _, text in rows)
    frames = (tmp_path / "split-frames" / "train.txt").read_text().splitlines()
    assert len(frames) == sum(v.num_frames for v in PLAN.videos if v.participant.split == "train")
    first = PLAN.videos[0].path
    stem = first.rsplit("/", 1)[1].removesuffix(".mp4")
    assert (tmp_path / "transcription" / first / f"{stem}.yml").is_file()
