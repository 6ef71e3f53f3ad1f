import re
import subprocess
import time
from dataclasses import replace

import pytest

from infra.zoo.inputs import DAMAGED, Rejected
from infra.zoo.truth import numbered_frames
from storage.errors import ItemFault
from tasks.media.cut_video import cut_video
from tasks.media.probe import probe
from tasks.media.rules import CutRules
from tasks.processes.tool import ToolLimits

RULES = CutRules(max_segment_ms=5_000, long_side=448, crf=23, min_decoded_fraction=0.9)
FIELD_CODED = ["field-coded.mts", "field-coded.mkv", "second-fields-late.mkv"]


@pytest.mark.parametrize(
    "name", ["cfr25.mp4", "b-frames.avi", "audio-longer.mp4", "vfr.mp4", *FIELD_CODED]
)
def test_intact_video_is_cut_without_a_warning(cut_once, name):
    assert cut_once(name).result.warnings == ()


@pytest.mark.parametrize("name", FIELD_CODED)
def test_frames_of_two_packets_are_each_cut_once(cut_once, name):
    found = cut_once(name).result
    assert [segment.num_frames for segment in found.plan] == [75, 75]
    assert [segment.start_ms for segment in found.plan] == [0, 3_000]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("audio-shorter.mp4", "audio is missing for 2.99 of 7.00 s of video: 1 of 2 segments are "),
        ("audio-hours-late.mkv", "audio is missing for 6.00 of 6.00 s of video: 2 of 2 segments"),
        ("video-late.mkv", "1.22 s of audio before the first frame are not used"),
    ],
)
def test_missing_and_unused_audio_is_reported(cut_once, name, message):
    assert cut_once(name).result.warnings[0].startswith(message)


@pytest.mark.parametrize("name", [name for name, it in DAMAGED.items() if isinstance(it, Rejected)])
def test_file_of_which_too_little_decodes_is_rejected_with_the_cause(video, tmp_path, name):
    reason = re.escape(DAMAGED[name].reason)
    with pytest.raises(ItemFault, match=reason):
        cut_video(video(name), tmp_path, RULES, 512)


def test_video_that_needs_too_much_memory_is_rejected_with_the_limit_and_the_setting(
    video, tmp_path
):
    message = (
        r"the 512 MiB allowed for one ffmpeg process: .* raise resources\.segment\.child_memory_mb"
    )
    with pytest.raises(ItemFault, match=message):
        cut_video(video("of-great-size.mov"), tmp_path, RULES, 512)


def test_encoder_padding_is_not_part_of_a_tenth_of_a_second_of_audio(
    tmp_path,
):
    path, folder = tmp_path / "yes.mp3", tmp_path / "out"
    folder.mkdir()
    tone = ("-f", "lavfi", "-t", "0.1", "-i", "sine=r=8000", "-c:a", "libmp3lame")
    subprocess.run(["ffmpeg", "-v", "error", *tone, str(path)], check=True, timeout=60)
    done = cut_video(path, folder, RULES, 4096)
    assert [segment.end_ms for segment in done.plan] == [100]
    assert done.warnings == ("the file has no video stream, only audio",)


def test_truncated_video_is_cut_as_far_as_it_decodes(cut_once):
    video_cut = cut_once("truncated-little.mp4")
    counts = [len(numbered_frames(segment.video_path)) for segment in video_cut.segments()]
    assert counts == [segment.num_frames for segment in video_cut.result.plan]
    assert 0.9 * 200 <= sum(counts) < 200
    assert sum(len(audio) for audio in video_cut.audios()) == video_cut.result.plan[-1].end_sample
    assert "1 of 193 frames are damaged" in video_cut.result.warnings[0]
    assert len(list(video_cut.folder.iterdir())) == 2 * len(video_cut.result.plan)


def test_few_damaged_bytes_are_reported_and_tolerated(cut_once):
    video_cut = cut_once("a-little-rotten.mp4")
    counts = [len(numbered_frames(segment.video_path)) for segment in video_cut.segments()]
    assert sum(counts) == 200
    assert " of 200 frames are damaged (ffmpeg: " in video_cut.result.warnings[0]


def test_endless_file_times_out(video):
    started = time.monotonic()
    with pytest.raises(ItemFault, match="probing timed out after 1 s"):
        probe(video("endless.mpg"), limits=ToolLimits(seconds=1))
    assert time.monotonic() - started < 30


def test_tolerated_loss_is_a_setting(video, tmp_path):
    lenient = replace(RULES, min_decoded_fraction=0.4)
    done = cut_video(video("truncated-moov-first.mp4"), tmp_path, lenient, 4096)
    assert done.plan[-1].end_ms < 4_500
    assert any("the container declares 8.00 s" in warning for warning in done.warnings)


def test_stream_that_starts_between_key_frames_is_cut_from_where_it_decodes(video, tmp_path):
    whole = video("clock-not-at-zero.ts").read_bytes()
    path = tmp_path / "joined late.ts"
    path.write_bytes(whole[: 188 * 3] + whole[188 * (len(whole) // 188 // 30) :])
    (tmp_path / "out").mkdir()
    done = cut_video(path, tmp_path / "out", replace(RULES, min_decoded_fraction=0.3), 4096)
    counted = subprocess.run(
        ["ffprobe", "-v", "quiet", "-count_frames", "-select_streams", "v:0",
         "-show_entries", "stream=nb_read_frames", "-of", "csv=p=0", str(path)],
        capture_output=True, text=True, check=True,
    ).stdout.split()[0]  # fmt: skip
    assert sum(segment.num_frames for segment in done.plan) == int(counted)


def test_video_that_decodes_but_cannot_be_cut_keeps_the_first_cause(video, tmp_path, monkeypatch):
    fake = tmp_path / "bin" / "ffmpeg"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\necho 'no such decoder' >&2\n")
    fake.chmod(0o755)
    path = video("very-short.mp4")
    monkeypatch.setenv("PATH", f"{fake.parent}:/usr/bin:/bin")
    (tmp_path / "out").mkdir()
    with pytest.raises(ItemFault, match=r"no displayable frame \(ffmpeg: no such decoder\)"):
        cut_video(path, tmp_path / "out", RULES, 4096)
