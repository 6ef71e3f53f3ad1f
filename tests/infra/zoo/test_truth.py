import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from infra.zoo.inputs import Cut
from infra.zoo.truth import WrittenSegment, beeps_in, faults_of, numbered_frames
from tasks.media.audio.command import audio_name
from tasks.media.audio.wav import read_audio, write_audio
from tasks.media.cut_video import cut_video
from tasks.media.rules import CutRules
from tasks.media.video.command import video_name

RULES = CutRules(max_segment_ms=5_000, long_side=448, crf=23, min_decoded_fraction=0.9)
EXPECTED = Cut(beeps=(2,))


@pytest.fixture(scope="module")
def whole(video, tmp_path_factory) -> list[WrittenSegment]:
    folder = tmp_path_factory.mktemp("whole")
    done = cut_video(video("ntsc.mp4"), folder, RULES, 4096)
    return [
        WrittenSegment(
            start_ms=planned.start_ms,
            end_ms=planned.end_ms,
            num_frames=planned.num_frames,
            num_samples=planned.num_samples,
            video_path=folder / video_name(planned.index),
            audio_path=folder / audio_name(planned.index),
        )
        for planned in done.plan
    ]


@pytest.fixture
def segments(whole, tmp_path) -> list[WrittenSegment]:
    """Segments without a fault, to be damaged."""
    return [
        replace(
            segment,
            video_path=Path(shutil.copy(segment.video_path, tmp_path)),
            audio_path=Path(shutil.copy(segment.audio_path, tmp_path)),
        )
        for segment in whole
    ]


def faults(video, segments: list[WrittenSegment], expected: Cut = EXPECTED) -> str:
    return "; ".join(faults_of(video("ntsc.mp4"), segments, expected))


def damage_video(path: Path, *arguments: str) -> None:
    damaged = path.with_name("damaged.mp4")
    command = ["ffmpeg", "-v", "error", "-i", str(path), *arguments, str(damaged)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=60)
    damaged.rename(path)


def test_any_number_in_a_frame_is_read_back(video):
    numbers = [number for _, number in numbered_frames(video("cfr25.mp4"))]
    assert numbers == list(range(300))


def test_an_exact_cut_has_no_fault(video, segments):
    assert faults(video, segments) == ""


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (("-vf", "select='not(eq(n,40))'", "-fps_mode", "passthrough"), "1 lost, 0 doubled"),
        (("-vf", "loop=1:1:40,setpts=N*1001/30000/TB"), "0 lost, 1 doubled"),
        (("-vf", "shuffleframes=1 0 2 3 4 5 6"), "frames of 219"),
        (("-vf", "setpts=PTS*1.01", "-fps_mode", "passthrough"), "ms off its time"),
    ],
)
def test_a_frame_that_is_lost_doubled_swapped_or_late_is_reported(video, segments, damage, message):
    damage_video(segments[1].video_path, *damage)
    assert message in faults(video, segments)


def test_one_sample_that_is_lost_or_doubled_is_reported(video, segments):
    samples = read_audio(segments[0].audio_path)
    for damaged in (np.delete(samples, 20_000), np.insert(samples, 20_000, samples[20_000])):
        write_audio(segments[0].audio_path, damaged)
        found = faults(video, segments)
        assert "recorded and written sample counts differ" in found
        assert "the samples are not those of the track" in found


def test_audio_in_the_wrong_order_is_reported(video, segments):
    first, second = (read_audio(segment.audio_path) for segment in segments)
    write_audio(segments[0].audio_path, second)
    write_audio(segments[1].audio_path, first)
    assert "beeps are at [5.6" in faults(video, segments)


def test_a_stub_a_gap_and_a_wrong_count_are_reported(video, segments):
    assert "a stub" not in faults(video, segments)
    moved = [replace(segments[0], end_ms=segments[0].end_ms + 40), segments[1]]
    assert "not neighbors in time" in faults(video, moved)
    assert "too long" in faults(video, [replace(segments[0], start_ms=-2_000), segments[1]])
    miscounted = [replace(segments[0], num_frames=9), segments[1]]
    assert "decoded are [110, 109]" in faults(video, miscounted)


def test_unexpected_audio_is_reported(video, segments):
    assert "there is audio" in faults(video, segments, Cut(beeps=None))


def test_unexpected_video_is_reported(video, segments):
    assert "there is video" in faults(video, segments, Cut(beeps=(2,), video_stream=None))


def test_beeps_are_heard_when_they_begin():
    samples = np.zeros(32_000, np.int16)
    for start in (1_600, 24_000):
        samples[start : start + 800] = 20_000
    assert beeps_in(samples) == [0.1, 1.5]
