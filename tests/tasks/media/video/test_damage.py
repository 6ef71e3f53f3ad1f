import random
import subprocess
from pathlib import Path

import numpy as np
import pytest

from infra.zoo.sources import video as numbered
from tasks.media.video.damage import measure_damage
from tasks.processes.tool import ToolLimits

LIMITS = ToolLimits(seconds=60)
SIZE = (160, 120)
CODECS = {
    "h264.mp4": ("-c:v", "libx264", "-preset", "ultrafast", "-g", "30"),
    "h264-b.mkv": ("-c:v", "libx264", "-preset", "veryfast", "-g", "25", "-bf", "3"),
    "mpeg4.avi": ("-c:v", "mpeg4", "-g", "25", "-q:v", "4"),
    "mpeg2.ts": ("-c:v", "mpeg2video", "-g", "15", "-q:v", "4"),
}


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """Clean files of 100 frames by name, generated once each."""
    folder = tmp_path_factory.mktemp("clean")

    def make(name: str) -> Path:
        path = folder / name
        if not path.exists():
            encode = [*numbered(4), "-pix_fmt", "yuv420p", *CODECS[name], str(path)]
            subprocess.run(["ffmpeg", "-v", "error", *encode], check=True, timeout=60)
        return path

    return make


def flip_bytes(path: Path, out: Path, offsets: list[int]) -> Path:
    content = bytearray(path.read_bytes())
    for offset in offsets:
        content[offset] ^= 0xFF
    out.write_bytes(content)
    return out


def images(path: Path) -> np.ndarray:
    command = ["ffmpeg", "-v", "quiet", "-i", str(path), "-fps_mode", "passthrough",
               "-pix_fmt", "gray", "-f", "rawvideo", "-"]  # fmt: skip
    raw = subprocess.run(command, stdout=subprocess.PIPE, check=False, timeout=60).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, SIZE[1], SIZE[0]).astype(float)


def num_below(damaged: Path, clean: Path, decibels: float) -> int:
    """Count the frames whose PSNR against the clean file is lower, or that are missing."""
    found, expected = images(damaged), images(clean)
    errors = ((found - expected[: len(found)]) ** 2).mean(axis=(1, 2))
    psnr = 10 * np.log10(255**2 / np.maximum(errors, 1e-3))
    return int((psnr < decibels).sum()) + len(expected) - len(found)


def packets(path: Path) -> list[tuple[int, int, bool]]:
    """Return position and size in bytes of each packet, and whether it is a key frame."""
    command = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries",
               "packet=pos,size,flags", "-of", "csv=p=0", str(path)]  # fmt: skip
    output = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=60).stdout
    rows = [line.split(",") for line in output.decode().split()]
    return [(int(pos), int(size), "K" in flags) for size, pos, flags in rows]


@pytest.mark.parametrize("name", CODECS)
def test_intact_video_has_no_damage(clean, name):
    damage = measure_damage(clean(name), 0, limits=LIMITS)
    assert (damage.num_frames, damage.num_damaged, damage.cause) == (100, 0, "")


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("flips", [1, 4, 20])
def test_frames_that_differ_from_the_clean_ones_are_counted(clean, tmp_path, name, flips):
    path = clean(name)
    dice = random.Random(f"{name}{flips}")
    length = path.stat().st_size
    offsets = [dice.randrange(length // 10, length * 19 // 20) for _ in range(flips)]
    damaged = flip_bytes(path, tmp_path / name, offsets)
    damage = measure_damage(damaged, 0, limits=LIMITS)
    num_bad = damage.num_damaged + 100 - damage.num_frames
    assert num_bad >= num_below(damaged, path, 25) - 5
    assert num_bad <= num_below(damaged, path, 45) + 15


@pytest.mark.parametrize(("ahead", "fewest", "most"), [(29, 25, 30), (1, 1, 3)])
def test_damage_lasts_until_the_next_key_frame(clean, tmp_path, ahead, fewest, most):
    path = clean("h264.mp4")
    listed = packets(path)
    key = next(n for n, (_, _, is_key) in enumerate(listed) if is_key and n > 30)
    position, size, _ = listed[key - ahead]
    offsets = list(range(position + size // 3, position + size * 2 // 3))
    damaged = flip_bytes(path, tmp_path / "one.mp4", offsets)
    damage = measure_damage(damaged, 0, limits=LIMITS)
    assert fewest <= damage.num_damaged <= most
    assert damage.num_frames == 100
