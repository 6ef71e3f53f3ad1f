import os
import time
import wave
from pathlib import Path

import av
import numpy as np
import pytest

from infra.zoo.inputs import GOOD
from infra.zoo.truth import faults_of
from storage.errors import ItemFault, StageError, ToolError
from tasks.media.command import audio_name
from tasks.media.cut import count_frames, cut, cut_audio, read_audio, write_audio
from tasks.media.plan import plan_audio, plan_segments
from tasks.media.probe import probe
from tasks.processes.tool import ToolLimits

LIMITS = ToolLimits(seconds=60)


def clips_of(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.reformat(40, 30, "gray").to_ndarray() for frame in container.decode(video=0)]


@pytest.mark.parametrize("name", GOOD)
def test_every_frame_and_sample_is_in_the_segments_once_and_in_its_place(cut_video, name):
    made = cut_video(name)
    assert list(faults_of(made.path, made.segments(), GOOD[name])) == []
    assert (made.done.warnings == ()) == (GOOD[name].warning is None)


@pytest.mark.parametrize("name", GOOD)
def test_the_source_is_only_read_and_nothing_else_is_left(cut_video, name):
    made = cut_video(name)
    assert (made.path.read_bytes(), made.path.stat().st_mtime_ns) == made.source_before
    per_segment = (GOOD[name].beeps is not None) + (GOOD[name].video_stream is not None)
    assert len(list(made.folder.iterdir())) == per_segment * len(made.done.plan)


def test_audio_that_needs_no_conversion_is_kept_sample_for_sample(cut_video):
    made = cut_video("sample-for-sample.mkv")
    with av.open(str(made.path)) as container:
        played = [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
    assert np.array_equal(np.concatenate(made.audios()), np.concatenate(played))
    with wave.open(str(made.folder / audio_name(0)), "rb") as stream:
        assert (stream.getframerate(), stream.getnchannels(), stream.getsampwidth()) == (
            16_000, 1, 2,
        )  # fmt: skip


@pytest.mark.parametrize("name", ["cfr25.mp4", "odd.mp4", "ten-bit.mp4", "wide-pixels.mp4"])
def test_every_frame_shows_what_the_source_shows(cut_video, name):
    made = cut_video(name)
    kept = [grey for segment in made.segments() for grey in clips_of(segment.video_path)]
    for found, stored in zip(kept, clips_of(made.path), strict=True):
        assert np.abs(found - stored.astype(int)).mean() < 6


@pytest.mark.parametrize(
    ("name", "size"),
    [("odd.mp4", (160, 120)), ("rotated.mp4", (120, 160)), ("wide-pixels.mp4", (320, 120))],
)
def test_videos_are_upright_even_and_of_square_pixels(cut_video, name, size):
    with av.open(str(cut_video(name).folder / "0000.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == size
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert stream.sample_aspect_ratio in (None, 1)


@pytest.mark.parametrize(
    ("long_side", "size"), [(64, (64, 48)), (100, (100, 76)), (4096, (160, 120))]
)
def test_a_large_video_is_made_smaller_and_a_small_one_is_left(video, tmp_path, long_side, size):
    source = probe(video("one-frame.mp4"), limits=LIMITS)
    plan = plan_segments(source.frame_times, source.end_time, 5_000)
    cut(source, plan, tmp_path, long_side=long_side, crf=23, limits=LIMITS)
    with av.open(str(tmp_path / "0000.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == size


def _fake_ffmpeg(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir(exist_ok=True)
    path = folder / "ffmpeg"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def _cut_short(video, folder: Path, seconds: float = 60) -> None:
    source = probe(video("very-short.mp4"), limits=LIMITS)
    plan = plan_segments(source.frame_times, source.end_time, 5_000)
    cut(source, plan, folder, long_side=448, crf=23, limits=ToolLimits(seconds=seconds))


def test_a_hanging_ffmpeg_is_killed_with_its_group(video, monkeypatch, tmp_path):
    script = f"sleep 300 & echo $! > {tmp_path}/child; sleep 300"
    _fake_ffmpeg(tmp_path / "bin", script, monkeypatch)
    with pytest.raises(ItemFault, match="decoding did not end within 2 s and was stopped"):
        _cut_short(video, tmp_path, seconds=2)
    child = int((tmp_path / "child").read_text())
    end = time.monotonic() + 20
    while Path(f"/proc/{child}").exists() and time.monotonic() < end:
        time.sleep(0.02)
    assert not Path(f"/proc/{child}").exists()


def test_an_ffmpeg_that_succeeds_and_writes_nothing_is_not_believed(video, monkeypatch, tmp_path):
    _fake_ffmpeg(tmp_path / "bin", "exit 0", monkeypatch)
    with pytest.raises(ItemFault, match="damaged: 0 of 5 frames could be decoded into 0 of 1"):
        _cut_short(video, tmp_path)


def test_an_ffmpeg_that_writes_no_audio_of_a_file_of_audio_is_not_believed(
    video, monkeypatch, tmp_path
):
    source = probe(video("audio-only.m4a"), limits=LIMITS)
    _fake_ffmpeg(tmp_path / "bin", "echo 'no such decoder' >&2", monkeypatch)
    message = r"nothing of its sound decodes \(ffmpeg: no such decoder\)"
    with pytest.raises(ItemFault, match=message):
        cut_audio(source, lambda count: plan_audio(count, 5_000), tmp_path, limits=LIMITS)


@pytest.mark.parametrize("signal", [9, 15])
def test_an_ffmpeg_that_was_killed_is_no_videos_fault(video, monkeypatch, tmp_path, signal):
    _fake_ffmpeg(tmp_path / "bin", f"kill -{signal} $$", monkeypatch)
    with pytest.raises(StageError, match=f"ffmpeg was killed by signal {signal} .*run again"):
        _cut_short(video, tmp_path)


@pytest.mark.parametrize("signal", [6, 11])
def test_an_ffmpeg_that_crashes_over_a_video_is_the_videos_fault(
    video, monkeypatch, tmp_path, signal
):
    _fake_ffmpeg(tmp_path / "bin", f"kill -{signal} $$", monkeypatch)
    with pytest.raises(ItemFault, match=rf"ffmpeg crashed on it \(signal {signal}\)"):
        _cut_short(video, tmp_path)


def test_an_ffmpeg_without_h264_is_no_videos_fault(video, monkeypatch, tmp_path):
    _fake_ffmpeg(tmp_path / "bin", "echo \"Unknown encoder 'libx264'\" >&2; exit 1", monkeypatch)
    with pytest.raises(ToolError, match=r"cannot write H\.264 .*install a full build"):
        _cut_short(video, tmp_path)


def test_a_full_disk_is_no_videos_fault(video, monkeypatch, tmp_path):
    message = "av_interleaved_write_frame(): No space left on device"
    _fake_ffmpeg(tmp_path / "bin", f"echo '{message}' >&2; exit 1", monkeypatch)
    with pytest.raises(OSError, match="No space left on device"):
        _cut_short(video, tmp_path)


def test_a_missing_ffmpeg_is_no_videos_fault(video, monkeypatch, tmp_path):
    source = probe(video("very-short.mp4"), limits=LIMITS)
    plan = plan_segments(source.frame_times, source.end_time, 5_000)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match="'ffmpeg' is not installed"):
        cut(source, plan, tmp_path, long_side=448, crf=23, limits=LIMITS)


def test_a_file_that_is_no_segment_has_no_frames(video, tmp_path):
    assert count_frames(video("audio-only.m4a")) == 0
    (tmp_path / "text.mp4").write_text("no picture")
    (tmp_path / "empty.mp4").touch()
    names = ["text.mp4", "empty.mp4", "gone.mp4"]
    assert [count_frames(tmp_path / name) for name in names] == [0, 0, 0]


def test_written_audio_is_read_back(tmp_path):
    samples = np.array([0, 1, -1, 32_767, -32_768], np.int16)
    write_audio(tmp_path / "a.wav", samples)
    assert np.array_equal(read_audio(tmp_path / "a.wav"), samples)
    assert len(read_audio(tmp_path / "gone.wav")) == 0
