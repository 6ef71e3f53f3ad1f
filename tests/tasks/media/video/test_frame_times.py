from itertools import pairwise

import pytest

from storage.errors import ItemFault
from tasks.media.probe import probe
from tasks.media.video.frame_times import decode_frames, list_frames
from tasks.processes.tool import ToolLimits

LIMITS = ToolLimits(seconds=60)


@pytest.mark.parametrize(
    "name",
    [
        "cfr25.mp4",
        "vfr.mp4",
        "b-frames.mkv",
        "video-late.mkv",
        "clock-not-at-zero.ts",
        "trimmed.mp4",
    ],
)
def test_listed_frames_of_an_intact_video_are_the_decoded_ones(video, name):
    origin = probe(video(name), limits=LIMITS).origin
    listed = list_frames(video(name), 0, 0, origin, limits=LIMITS)
    decoded = decode_frames(video(name), 0, 0, last_gap=listed.last_gap, limits=LIMITS)
    assert listed.times == pytest.approx(decoded.times, abs=1e-5)
    assert listed.end_time == pytest.approx(decoded.end_time, abs=1e-5)


def test_times_are_relative_to_the_origin(video):
    plain = list_frames(video("one-frame.mp4"), 0, None, 0.0, limits=LIMITS)
    shifted = list_frames(video("one-frame.mp4"), 0, None, 1.5, limits=LIMITS)
    assert (shifted.times[0], shifted.end_time) == (plain.times[0] - 1.5, plain.end_time - 1.5)


def test_frames_without_times_in_the_container_are_decoded(video):
    frames = list_frames(video("b-frames.avi"), 0, 0, 0.0, limits=LIMITS)
    assert len(frames.times) == 150
    gaps = [b - a for a, b in pairwise(frames.times)]
    assert gaps == pytest.approx([0.04] * 149, abs=1e-4)


def test_each_stream_has_its_own_frames(video):
    path = video("many-streams.mp4")
    assert len(list_frames(path, 0, 0, 0.0, limits=LIMITS).times) == 150
    assert len(list_frames(path, 1, 1, 0.0, limits=LIMITS).times) == 180


def test_stream_without_frames_is_the_videos_fault(video):
    with pytest.raises(ItemFault, match="no displayable frame"):
        list_frames(video("audio-only.m4a"), 0, 0, 0.0, limits=LIMITS)
