from dataclasses import replace
from pathlib import Path

import pytest

from storage.errors import FramesFault, ItemFault
from tasks.media.frame_times import FrameTimes
from tasks.media.plan import plan_segments
from tasks.media.probe import SourceMedia
from tasks.media.verify import (
    audio_length_warnings,
    check_audio_decoding,
    check_decoding,
    check_length,
    check_written_frames,
    count_frames,
)
from tasks.processes.tool import ToolLimits

LIMITS = ToolLimits(seconds=60, memory_mb=512)
SOURCE = SourceMedia(
    path=Path("a.mp4"), video_stream=0, audio_stream=0, width=160, height=120,
    declared_seconds=10.0, origin=0.0, frame_times=tuple(n / 10 for n in range(100)), end_time=10.0,
    num_packets=500,
)  # fmt: skip
AUDIO_ONLY = replace(SOURCE, video_stream=None, frame_times=())


def frames(num_frames: int, **details) -> FrameTimes:
    return FrameTimes(times=SOURCE.frame_times[:num_frames], end_time=10.0, **details)


@pytest.mark.parametrize(
    ("declared", "warnings"),
    [
        (10.4, []),
        (11.0, ["the container declares 11.00 s of video, its frames end at 10.00 s"]),
    ],
)
def test_video_shorter_than_declared_is_reported(declared, warnings):
    assert check_length(replace(SOURCE, declared_seconds=declared), 0.9) == warnings


@pytest.mark.parametrize(("source", "kind"), [(SOURCE, "video"), (AUDIO_ONLY, "audio")])
def test_truncated_file_is_rejected(source, kind):
    with pytest.raises(ItemFault, match=f"truncated: the container declares 12.00 s of {kind}"):
        check_length(replace(source, declared_seconds=12.0), 0.9)


def test_decoder_errors_count_as_lost_frames():
    assert check_decoding(100, frames(100), 0.9, LIMITS) == []
    assert check_decoding(100, frames(95), 0.9, LIMITS) == ["95 of 100 frames decode"]
    few = frames(95, num_errors=8, cause="bad")
    assert check_decoding(100, few, 0.9, LIMITS) == [
        "95 of 100 frames decode, with 8 errors (ffmpeg: bad)"
    ]
    with pytest.raises(ItemFault, match="damaged: 95 of 100 frames decode, with 12 errors"):
        check_decoding(100, replace(few, num_errors=12), 0.9, LIMITS)
    with pytest.raises(ItemFault, match="the 512 MiB allowed"):
        check_decoding(100, replace(few, num_errors=12, out_of_memory=True), 0.9, LIMITS)


def test_audio_may_lose_encoder_padding_but_not_more_than_the_rest_allows():
    assert check_audio_decoding(AUDIO_ONLY, 156_000, 0.9, 0, "") == []
    warning = ["9.20 of 10.00 s of audio decode"]
    assert check_audio_decoding(AUDIO_ONLY, 147_200, 0.9, 0, "") == warning
    with pytest.raises(ItemFault, match=r"damaged: 8\.00 of 10\.00 s of audio decode"):
        check_audio_decoding(AUDIO_ONLY, 128_000, 0.9, 0, "")
    with pytest.raises(ItemFault, match="with 102 errors"):
        check_audio_decoding(AUDIO_ONLY, 160_000, 0.9, 102, "bad")


@pytest.mark.parametrize(
    ("num_samples", "warnings"),
    [
        (160_000, ()),
        (168_000, ()),
        (128_000, ("the audio is 2.00 s shorter than the video",)),
        (192_000, ("the audio is 2.00 s longer than the video",)),
        (1_120_000, ("the audio is at least 60 s longer than the video",)),
    ],
)
def test_audio_of_another_length_is_reported(num_samples, warnings):
    assert audio_length_warnings(SOURCE, num_samples) == warnings


def test_segments_that_were_not_written_are_a_fault_with_the_decoders_message(tmp_path):
    plan = plan_segments(SOURCE.frame_times, SOURCE.end_time, 5_000)
    message = r"damaged: 0 of 100 frames could be decoded into 0 of 2 segments \(ffmpeg: bad\)"
    with pytest.raises(FramesFault, match=message):
        check_written_frames(plan, tmp_path, "bad")


def test_file_that_is_not_a_segment_has_no_frames(video, tmp_path):
    assert count_frames(video("audio-only.m4a")) == 0
    (tmp_path / "text.mp4").write_text("not a video")
    (tmp_path / "empty.mp4").touch()
    names = ["text.mp4", "empty.mp4", "missing.mp4"]
    assert [count_frames(tmp_path / name) for name in names] == [0, 0, 0]
