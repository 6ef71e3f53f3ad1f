import itertools
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.media_records import VideoQuality
from tasks.media.cut_video import cut_video
from tasks.media.video.quality import LUMA_RATE, LUMA_SIZE, FrameFlags, Luma, find_flags
from tests.tasks.media.conftest import RULES

WIDTH, HEIGHT = LUMA_SIZE
STILL = "testsrc2=s=320x240:r=10,trim=end_frame=1,loop=39:1,setpts=N/10/TB"  # for 4 s
X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
SCENE = np.linspace(40, 200, WIDTH * HEIGHT).reshape(HEIGHT, WIDTH)


def clip(*frames: np.ndarray) -> Luma:
    return np.stack(frames).clip(0, 255).astype(np.uint8)


def still(seconds: float, level: float = 0.0) -> list[np.ndarray]:
    return [SCENE + level] * round(seconds * LUMA_RATE)


def moving(seconds: float) -> list[np.ndarray]:
    """A patch of a few pixels that appears in every other frame: a mouth."""
    frames = [SCENE.copy() for _ in range(round(seconds * LUMA_RATE))]
    for frame in frames[::2]:
        frame[20:22, 30:33] += 12
    return frames


def fractions(luma: Luma, seconds: float) -> tuple[float, float]:
    quality = find_flags(luma, round(seconds * 1000)).quality(0, round(seconds * 1000))
    return quality.black_fraction, quality.frozen_fraction


def measured(path: Path, source: str, *encoder: str) -> VideoQuality:
    """Encode a lavfi source, cut it, and return what was measured."""
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, *encoder, str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=60)
    folder = path.with_suffix("")
    folder.mkdir()
    quality = cut_video(path, folder, RULES, 4096).video_quality
    assert quality is not None
    return quality


@pytest.mark.parametrize(
    ("name", "encoder"),
    [
        ("a.mp4", (*X264, "-crf", "23")),
        ("a.mkv", (*X264, "-crf", "40", "-g", "10")),
        ("a.mpg", ("-c:v", "mpeg2video", "-r", "25", "-b:v", "300k", "-g", "12")),
        ("a.avi", ("-c:v", "mjpeg", "-q:v", "8")),
        ("a.webm", ("-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "80k")),
    ],
)
def test_a_still_image_is_frozen_whatever_codec_it_went_through(tmp_path, name, encoder):
    quality = measured(tmp_path / name, STILL, *encoder)
    assert quality.frozen_fraction > 0.8
    assert quality.black_fraction == 0


@pytest.mark.parametrize(
    "motion",
    [
        "drawbox=x=150:y=120:w=16:h=6:color=black:t=fill:enable='lt(mod(t,1),0.3)'",  # a mouth
        "scale=1280:960,crop=1260:940:10+6*sin(2*t):10+4*sin(3*t),scale=320:240",  # breathing
    ],
)
def test_a_person_who_sits_nearly_still_is_not_frozen(tmp_path, motion):
    assert measured(tmp_path / "a.mp4", f"{STILL},{motion}", *X264).frozen_fraction == 0


@pytest.mark.parametrize(
    ("source", "fraction"),
    [
        ("color=black:s=160x120:r=10:d=4", 1),
        ("color=black:s=160x120:r=10:d=4,noise=alls=6:allf=t", 1),
        ("testsrc2=s=160x120:r=10:d=4,drawbox=color=black:t=fill:enable='gte(t,2)'", 0.5),
        ("testsrc2=s=160x40:r=10:d=4,pad=160:120:0:40:black", 0),  # letterboxed
        ("testsrc2=s=160x120:r=10:d=4,eq=brightness=-0.4:contrast=0.3", 0),  # a dark scene
    ],
)
def test_the_black_part_of_a_video_is_measured(tmp_path, source, fraction):
    quality = measured(tmp_path / "a.mp4", source, *X264)
    assert quality.black_fraction == pytest.approx(fraction, abs=0.07)


def test_a_frame_that_is_held_in_a_gap_is_frozen(video, tmp_path):
    cut = cut_video(video("still-for-seconds.mkv"), tmp_path, RULES, 4096)
    assert cut.video_quality.frozen_fraction == pytest.approx(12 / 16, abs=0.03)
    assert cut.frame_flags.quality(3_000, 12_000).frozen_fraction == 1
    assert any("the video is frozen for 75% of its duration" in w for w in cut.warnings)


def test_a_moving_video_is_neither_black_nor_frozen():
    assert fractions(clip(*moving(6)), 6) == (0, 0)


def test_a_still_video_is_frozen():
    assert fractions(clip(*still(6)), 6) == (0, 1)


@pytest.mark.parametrize(("seconds", "fraction"), [(2, 0), (2.5, 0), (4, 0.5), (6, 0.6)])
def test_only_a_stretch_of_three_seconds_counts_as_frozen(seconds, fraction):
    luma = clip(*moving(4), *still(seconds, level=30))
    assert fractions(luma, 4 + seconds)[1] == pytest.approx(fraction)


def test_the_last_frame_counts_as_frozen_if_it_is_held_for_long():
    luma = clip(*moving(2))
    assert fractions(luma, 2)[1] == 0
    assert fractions(luma, 6)[1] == pytest.approx(4 / 6, abs=0.05)


def test_coding_noise_over_the_whole_frame_is_not_motion_and_a_blink_is():
    dice = np.random.default_rng(1)
    noisy = [SCENE + dice.normal(0, 1.5, SCENE.shape) for _ in range(6 * LUMA_RATE)]
    assert fractions(clip(*noisy), 6)[1] == 1
    blinking = [frame.copy() for frame in still(9)]
    for second in (2, 4, 6):
        blinking[second * LUMA_RATE][10, 20:22] -= 10
    assert fractions(clip(*blinking), 9)[1] == 0


def test_a_change_of_brightness_is_motion():
    assert fractions(clip(*(SCENE + 2 * k for k in range(24))), 6)[1] == 0


@pytest.mark.parametrize(
    ("scene", "is_black"),
    [
        (np.zeros((HEIGHT, WIDTH)), True),
        (np.full((HEIGHT, WIDTH), 20), True),
        (np.random.default_rng(1).normal(6, 1.5, (HEIGHT, WIDTH)), True),
        (np.full((HEIGHT, WIDTH), 60), False),
        (SCENE / 10, False),  # a dark scene, from 4 to 20
        (np.pad(SCENE[20:28], ((20, 20), (0, 0))), False),  # letterboxed
        (np.pad(SCENE[20:28, :20], ((40, 0), (44, 0))), False),  # a clock in a corner
    ],
)
def test_a_frame_is_black_if_it_is_dark_and_uniform(scene, is_black):
    luma = clip(*[scene] * 8, *moving(2))
    assert fractions(luma, 4)[0] == (0.5 if is_black else 0)


def test_no_frames_are_neither_black_nor_frozen():
    assert fractions(np.zeros((0, HEIGHT, WIDTH), np.uint8), 2) == (0, 0)
    assert fractions(clip(SCENE), 0.04) == (0, 0)
    assert fractions(clip(0 * SCENE), 0.04) == (1, 0)


@given(
    st.lists(st.booleans(), min_size=1, max_size=40),
    st.lists(st.integers(1, 3_000), min_size=1, max_size=8),
)
def test_fractions_of_segments_add_up_to_that_of_the_video(flags, lengths):
    of_video = FrameFlags(black=np.array(flags), frozen=~np.array(flags))
    bounds = np.cumsum([0, *lengths]).tolist()
    whole = of_video.quality(0, bounds[-1])
    parts = [of_video.quality(a, b) for a, b in itertools.pairwise(bounds)]
    for name in ("black_fraction", "frozen_fraction"):
        added = sum(getattr(p, name) * n for p, n in zip(parts, lengths, strict=True))
        assert 0 <= getattr(whole, name) <= 1
        assert added == pytest.approx(getattr(whole, name) * bounds[-1])
