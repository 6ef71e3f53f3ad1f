import re
import subprocess
import time
from dataclasses import replace

import pytest

from infra.zoo.inputs import DAMAGED, Rejected
from infra.zoo.truth import numbered_frames
from storage.errors import FramesFault, ItemFault
from tasks.media.cut_video import CutRules, cut_what_decodes
from tasks.media.probe import probe
from tasks.processes.tool import ToolLimits

RULES = CutRules(max_segment_ms=5_000, long_side=448, crf=23, min_decoded_fraction=0.9)


@pytest.mark.parametrize("name", ["cfr25.mp4", "b-frames.avi", "video-late.mkv", "vfr.mp4"])
def test_an_intact_video_is_cut_without_a_warning(cut_video, name):
    assert cut_video(name).done.warnings == ()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("audio-shorter.mp4", "the sound is 2.99 s shorter than the picture"),
        ("audio-longer.mp4", "the sound is 3.00 s longer than the picture"),
        ("audio-hours-late.mkv", "the sound is 6.00 s shorter than the picture"),
    ],
)
def test_an_audio_of_another_length_is_told(cut_video, name, message):
    assert cut_video(name).done.warnings == (message,)


@pytest.mark.parametrize("name", [name for name, it in DAMAGED.items() if isinstance(it, Rejected)])
def test_a_file_of_which_too_little_is_left_is_refused_with_the_cause(video, tmp_path, name):
    reason = re.escape(DAMAGED[name].reason)
    with pytest.raises(ItemFault, match=reason):
        cut_what_decodes(video(name), tmp_path, RULES, 512)


def test_a_video_that_asks_for_too_much_memory_is_refused_with_the_limit_and_the_setting(
    video, tmp_path
):
    message = (
        r"the 512 MiB that one ffmpeg may take: .* set resources\.segment\.child_memory_mb higher"
    )
    with pytest.raises(ItemFault, match=message):
        cut_what_decodes(video("of-great-size.mov"), tmp_path, RULES, 512)


def test_an_audio_of_a_tenth_of_a_second_is_whole_without_what_its_encoder_filled_it_up_with(
    tmp_path,
):
    path, folder = tmp_path / "yes.mp3", tmp_path / "out"
    folder.mkdir()
    tone = ("-f", "lavfi", "-t", "0.1", "-i", "sine=r=8000", "-c:a", "libmp3lame")
    subprocess.run(["ffmpeg", "-v", "error", *tone, str(path)], check=True, timeout=60)
    done = cut_what_decodes(path, folder, RULES, 4096)
    assert [segment.end_ms for segment in done.plan] == [100]
    assert done.warnings == ("the file has no picture, only sound",)


def test_a_video_that_lost_its_end_is_cut_as_far_as_it_decodes(cut_video):
    made = cut_video("truncated-little.mp4")
    counts = [len(numbered_frames(segment.video_path)) for segment in made.segments()]
    assert counts == [segment.num_frames for segment in made.done.plan]
    assert 0.9 * 200 <= sum(counts) < 200
    assert sum(len(audio) for audio in made.audios()) == made.done.plan[-1].end_sample
    assert "frames decode" in made.done.warnings[0]
    assert len(list(made.folder.iterdir())) == 2 * len(made.done.plan)


def test_a_few_rotten_bytes_are_told_and_survived(cut_video):
    made = cut_video("a-little-rotten.mp4")
    counts = [len(numbered_frames(segment.video_path)) for segment in made.segments()]
    assert sum(counts) == 200
    assert "200 of 200 frames decode, with " in made.done.warnings[0]


def test_a_file_that_goes_on_for_ever_is_given_up_in_time(video):
    started = time.monotonic()
    with pytest.raises(ItemFault, match="probing did not end within 1 s and was stopped"):
        probe(video("endless.mpg"), limits=ToolLimits(seconds=1))
    assert time.monotonic() - started < 30


def test_how_much_may_be_missing_is_a_setting(video, tmp_path):
    lenient = replace(RULES, min_decoded_fraction=0.4)
    done = cut_what_decodes(video("truncated-moov-first.mp4"), tmp_path, lenient, 4096)
    assert done.plan[-1].end_ms < 4_500
    assert any("the file states 8.00 s" in warning for warning in done.warnings)


def test_a_stream_that_begins_within_a_group_of_videos_is_cut_from_where_it_decodes(
    video, tmp_path
):
    whole = video("clock-not-at-zero.ts").read_bytes()
    path = tmp_path / "joined late.ts"
    path.write_bytes(whole[: 188 * 3] + whole[188 * (len(whole) // 188 // 30) :])
    (tmp_path / "out").mkdir()
    done = cut_what_decodes(path, tmp_path / "out", replace(RULES, min_decoded_fraction=0.3), 4096)
    counted = subprocess.run(
        ["ffprobe", "-v", "quiet", "-count_frames", "-select_streams", "v:0",
         "-show_entries", "stream=nb_read_frames", "-of", "csv=p=0", str(path)],
        capture_output=True, text=True, check=True,
    ).stdout.split()[0]  # fmt: skip
    assert sum(segment.num_frames for segment in done.plan) == int(counted)


def test_a_video_that_decodes_but_cannot_be_cut_keeps_the_first_cause(video, tmp_path, monkeypatch):
    fake = tmp_path / "bin" / "ffmpeg"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\necho 'no such decoder' >&2\n")
    fake.chmod(0o755)
    path = video("very-short.mp4")
    monkeypatch.setenv("PATH", f"{fake.parent}:/usr/bin:/bin")
    (tmp_path / "out").mkdir()
    with pytest.raises(FramesFault, match=r"0 of 5 frames .*\(ffmpeg: no such decoder\)"):
        cut_what_decodes(path, tmp_path / "out", RULES, 4096)
