import os
import wave
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from infra.zoo.inputs import GOOD
from infra.zoo.truth import faults_of
from storage.errors import ItemFault
from tasks.media.audio.command import audio_name
from tasks.media.plan import plan_segments
from tasks.media.probe import probe
from tasks.media.rules import CutRules
from tasks.media.video.cut import cut_frames
from tasks.processes.tool import ToolLimits

LIMITS = ToolLimits(seconds=60)
RULES = CutRules(max_segment_ms=5_000, long_side=448, crf=23, min_decoded_fraction=0.9)


def gray_frames(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.reformat(40, 30, "gray").to_ndarray() for frame in container.decode(video=0)]


@pytest.mark.parametrize("name", GOOD)
def test_every_frame_and_sample_is_in_exactly_one_segment_in_order(cut_once, name):
    video_cut = cut_once(name)
    assert list(faults_of(video_cut.path, video_cut.segments(), GOOD[name])) == []
    assert (video_cut.result.warnings == ()) == (GOOD[name].warning is None)


@pytest.mark.parametrize("name", GOOD)
def test_source_is_unchanged_and_no_temporary_file_is_left(cut_once, name):
    video_cut = cut_once(name)
    assert (
        video_cut.path.read_bytes(),
        video_cut.path.stat().st_mtime_ns,
    ) == video_cut.source_before
    paths = {path for s in video_cut.segments() for path in (s.video_path, s.audio_path) if path}
    assert set(video_cut.folder.iterdir()) == paths


def test_audio_that_needs_no_conversion_is_kept_sample_for_sample(cut_once):
    video_cut = cut_once("sample-for-sample.mkv")
    with av.open(str(video_cut.path)) as container:
        decoded = [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
    assert np.array_equal(np.concatenate(video_cut.audios()), np.concatenate(decoded))
    with wave.open(str(video_cut.folder / audio_name(0)), "rb") as stream:
        assert (stream.getframerate(), stream.getnchannels(), stream.getsampwidth()) == (
            16_000, 1, 2,
        )  # fmt: skip


@pytest.mark.parametrize("name", ["cfr25.mp4", "odd.mp4", "ten-bit.mp4", "wide-pixels.mp4"])
def test_every_frame_looks_like_the_source_frame(cut_once, name):
    video_cut = cut_once(name)
    written = [gray for segment in video_cut.segments() for gray in gray_frames(segment.video_path)]
    for frame, source_frame in zip(written, gray_frames(video_cut.path), strict=True):
        assert np.abs(frame - source_frame.astype(int)).mean() < 6


@pytest.mark.parametrize(
    ("name", "size"),
    [("odd.mp4", (160, 120)), ("rotated.mp4", (120, 160)), ("wide-pixels.mp4", (320, 120))],
)
def test_videos_are_rotated_upright_with_even_dimensions_and_square_pixels(cut_once, name, size):
    with av.open(str(cut_once(name).folder / "0000.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == size
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert stream.sample_aspect_ratio in (None, 1)


@pytest.mark.parametrize(
    ("long_side", "size"), [(64, (64, 48)), (100, (100, 76)), (4096, (160, 120))]
)
def test_large_video_is_scaled_down_and_small_one_is_kept(video, tmp_path, long_side, size):
    source = probe(video("one-frame.mp4"), limits=LIMITS)
    plan = plan_segments(source.frame_times, source.end_time, 5_000)
    cut_frames(source, plan, tmp_path, replace(RULES, long_side=long_side), LIMITS)
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
    cut_frames(source, plan, folder, RULES, ToolLimits(seconds=seconds))


def test_exit_status_zero_without_output_is_a_fault(video, monkeypatch, tmp_path):
    _fake_ffmpeg(tmp_path / "bin", "exit 0", monkeypatch)
    with pytest.raises(ItemFault, match="damaged: 0 of 5 frames could be decoded into 0 of 1"):
        _cut_short(video, tmp_path)
