import os
import subprocess
from itertools import pairwise

import pytest

from infra.zoo.edits import with_length_tag
from storage.errors import ItemFault, ToolError
from tasks.media.probe import probe, probe_seconds
from tasks.processes.tool import ToolLimits

LIMITS = ToolLimits(seconds=60)


@pytest.mark.parametrize(
    ("name", "num_frames", "seconds"),
    [
        ("cfr25.mp4", 300, 12.0),
        ("ntsc.mp4", 219, 219 * 1001 / 30_000),
        ("b-frames.mkv", 150, 6.0),
        ("b-frames.avi", 150, 6.0),
        ("clock-not-at-zero.ts", 150, 6.0),
        ("one-frame.mp4", 1, 0.04),
        ("very-short.mp4", 5, 0.2),
    ],
)
def test_every_frame_is_listed_with_its_time(video, name, num_frames, seconds):
    source = probe(video(name), limits=LIMITS)
    assert len(source.frame_times) == num_frames
    assert source.duration_seconds == pytest.approx(seconds, abs=0.002)
    assert source.declared_seconds == pytest.approx(seconds, abs=0.05)
    assert all(a < b for a, b in pairwise(source.frame_times))


@pytest.mark.parametrize(
    "name",
    ["cfr25.mp4", "ntsc.mp4", "b-frames.mkv", "b-frames.avi", "clock-not-at-zero.ts",
     "video-late.mp4", "recorded-live.webm", "audio-only.m4a", "song-with-cover.mp3"],
)  # fmt: skip
def test_probe_seconds_returns_the_length_of_the_frames(video, name):
    listed = probe(video(name), limits=LIMITS).duration_seconds
    assert probe_seconds(video(name), limits=LIMITS) == pytest.approx(listed, abs=0.05)


def test_probe_seconds_rejects_a_file_that_is_not_a_video(tmp_path):
    (tmp_path / "no.mp4").write_text("not a video")
    with pytest.raises(ItemFault, match="not a video that ffmpeg can open"):
        probe_seconds(tmp_path / "no.mp4", limits=LIMITS)


def test_uneven_frame_times_are_kept(video):
    gaps = [b - a for a, b in pairwise(probe(video("two-rates.webm"), limits=LIMITS).frame_times)]
    assert gaps[:59] == pytest.approx([1 / 7] * 59, abs=0.007)
    assert gaps[60:] == pytest.approx([1 / 60] * len(gaps[60:]), abs=0.007)


def test_a_stream_without_a_type_is_ignored(video):
    source = probe(video("untyped-stream.ts"), limits=LIMITS)
    assert (source.video_stream, source.audio_stream) == (0, 0)
    assert len(source.frame_times) == 75
    assert probe_seconds(video("untyped-stream.ts"), limits=LIMITS) == pytest.approx(3, abs=0.1)


@pytest.mark.parametrize(
    ("tag", "declared"),
    [("00:06.000", 6), ("0:00:06,00", 6), ("N/A", 6), ("", 6), ("a:b", 6), ("00:05:00.0", 300)],
)
def test_a_length_tag_in_any_form_is_read_or_ignored(video, tmp_path, tag, declared):
    path = tmp_path / "tagged.mkv"
    path.write_bytes(with_length_tag(video("b-frames.mkv").read_bytes(), tag))
    assert probe(path, limits=LIMITS).declared_seconds == pytest.approx(declared, abs=0.1)
    assert probe_seconds(path, limits=LIMITS) == pytest.approx(declared, abs=0.1)


@pytest.mark.parametrize("name", ["video-late.mkv", "video-late.mp4"])
def test_length_of_a_video_that_starts_late_is_measured_from_its_first_frame(video, name):
    source = probe(video(name), limits=LIMITS)
    assert source.start_time == pytest.approx(1.2, abs=0.03)
    assert source.duration_seconds == pytest.approx(6.0, abs=0.002)
    assert source.declared_seconds == pytest.approx(6.0, abs=0.05)


def test_length_is_measured_if_the_container_declares_none(video):
    source = probe(video("recorded-live.webm"), limits=LIMITS)
    assert source.start_time == pytest.approx(0.8, abs=0.03)
    assert source.declared_seconds == source.duration_seconds == pytest.approx(4.0, abs=0.03)


def test_largest_video_and_default_audio_are_selected(video):
    source = probe(video("many-streams.mp4"), limits=LIMITS)
    assert (source.video_stream, source.audio_stream) == (1, 1)
    assert (source.width, source.height) == (160, 120)


def test_size_of_a_rotated_video_is_the_displayed_one(video):
    source = probe(video("rotated.mp4"), limits=LIMITS)
    assert (source.width, source.height) == (120, 160)


def test_video_without_audio_has_no_audio_stream(video):
    assert probe(video("no-audio.mp4"), limits=LIMITS).audio_stream is None


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("empty.mp4", r"the file is empty \(0 bytes\)"),
        ("text.mp4", "not a video that ffmpeg can open: .*Invalid data found"),
        ("noise.mp4", "not a video that ffmpeg can open: "),
        ("truncated-moov-last.mp4", "not a video that ffmpeg can open: moov atom not found"),
        ("only-subtitles.mkv", "neither a video nor an audio stream"),
        ("list.mp4", "not a video but a playlist of other files"),
        ("missing.mp4", r"cannot be read \(No such file or directory\)"),
    ],
)
def test_file_that_is_not_a_video_is_rejected_with_the_cause(video, tmp_path, name, reason):
    written_here = ("only-subtitles.mkv", "list.mp4", "missing.mp4")
    path = tmp_path / name if name in written_here else video(name)
    if name == "only-subtitles.mkv":
        (tmp_path / "a.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nyes\n")
        subprocess.run(["ffmpeg", "-v", "error", "-i", tmp_path / "a.srt", path], check=True)
    if name == "list.mp4":
        path.write_text(f"ffconcat version 1.0\nfile '{video('cfr25.mp4').name}'\n")
        (tmp_path / "cfr25.mp4").symlink_to(video("cfr25.mp4"))
    with pytest.raises(ItemFault, match=reason):
        probe(path, limits=LIMITS)


def test_reason_never_names_the_folder_of_the_video(video):
    for name in ("text.mp4", "noise.mp4", "truncated-moov-last.mp4", "empty.mp4"):
        path = video(name)
        with pytest.raises(ItemFault) as caught:
            probe(path, limits=LIMITS)
        assert str(path.parent) not in str(caught.value)


def test_folder_named_mp4_is_not_a_video(tmp_path):
    (tmp_path / "a.mp4").mkdir()
    with pytest.raises(ItemFault, match=r"cannot be read \(Is a directory\)"):
        probe(tmp_path / "a.mp4", limits=LIMITS)


@pytest.mark.parametrize(("name", "seconds"), [("audio-only.m4a", 3), ("song-with-cover.mp3", 12)])
def test_audio_only_file_has_no_frames_and_the_length_of_its_audio(video, name, seconds):
    source = probe(video(name), limits=LIMITS)
    assert (source.video_stream, source.audio_stream, source.frame_times) == (None, 0, ())
    assert (source.width, source.height, source.start_time) == (0, 0, 0.0)
    assert source.duration_seconds == pytest.approx(seconds, abs=0.03)
    assert source.declared_seconds == pytest.approx(seconds, abs=0.03)
    assert source.num_packets == pytest.approx(seconds * 48_000 / 1_100, rel=0.1)


def test_missing_ffprobe_is_not_the_videos_fault(video, monkeypatch, tmp_path):
    path = video("one-frame.mp4")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match=r"'ffprobe' is not installed .*apt-get install ffmpeg"):
        probe(path, limits=LIMITS)


def test_hanging_ffprobe_times_out(video, monkeypatch, tmp_path):
    fake = tmp_path / "ffprobe"
    fake.write_text("#!/bin/sh\nsleep 600\n")
    fake.chmod(0o755)
    path = video("one-frame.mp4")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(ItemFault, match="probing timed out after 1 s"):
        probe(path, limits=ToolLimits(seconds=1))
