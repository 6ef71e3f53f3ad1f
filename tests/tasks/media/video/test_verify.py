from dataclasses import replace

import pytest

from storage.errors import FramesFault, ItemFault
from tasks.media.plan import plan_segments
from tasks.media.video.frame_times import FrameTimes
from tasks.media.video.verify import check_decoding, check_written_frames, count_frames
from tasks.processes.tool import ToolLimits

LIMITS = ToolLimits(seconds=60, memory_mb=512)
TIMES = tuple(n / 10 for n in range(100))


def frames(num_frames: int, **details) -> FrameTimes:
    return FrameTimes(times=TIMES[:num_frames], end_time=10.0, **details)


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


def test_segments_that_were_not_written_are_a_fault_with_the_decoders_message(tmp_path):
    plan = plan_segments(TIMES, 10.0, 5_000)
    message = r"damaged: 0 of 100 frames could be decoded into 0 of 2 segments \(ffmpeg: bad\)"
    with pytest.raises(FramesFault, match=message):
        check_written_frames(plan, tmp_path, "bad")


def test_file_that_is_not_a_segment_has_no_frames(video, tmp_path):
    assert count_frames(video("audio-only.m4a")) == 0
    (tmp_path / "text.mp4").write_text("not a video")
    (tmp_path / "empty.mp4").touch()
    names = ["text.mp4", "empty.mp4", "missing.mp4"]
    assert [count_frames(tmp_path / name) for name in names] == [0, 0, 0]
