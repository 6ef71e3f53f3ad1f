"""Small videos of every awkward kind, made by ffmpeg when a test first asks for one."""

import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples for everyone; look for new ones with --hypothesis-profile=explore.
settings.register_profile("steady", deadline=None, max_examples=50, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=2_000)
settings.load_profile("steady")

BEEP_HZ = 1_000
BEEP_SECONDS = 0.1


def beep(*starts: float, rate: int = 48_000) -> str:
    """Name a lavfi source: silence with a short tone at each of these seconds."""
    windows = "+".join(f"between(t,{start},{start + BEEP_SECONDS})" for start in starts)
    return f"aevalsrc='0.8*sin(2*PI*{BEEP_HZ}*t)*({windows})':s={rate}"


def _ffmpeg(*arguments: str) -> None:
    command = ["ffmpeg", "-hide_banner", "-loglevel", "error", "-y", *arguments]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=200)


def picture(seconds: float, *, fps: str = "25", size: str = "160x120") -> tuple[str, ...]:
    """Name a moving lavfi picture as ffmpeg's input."""
    return ("-f", "lavfi", "-t", str(seconds), "-i", f"testsrc2=s={size}:r={fps}")


def sound(seconds: float, *beeps: float) -> tuple[str, ...]:
    """Name a lavfi sound as ffmpeg's input."""
    return ("-f", "lavfi", "-t", str(seconds), "-i", beep(*beeps))


_H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "30")
_AAC = ("-c:a", "aac", "-b:a", "64k")
_SLOWER_IN_PARTS = "select='not(between(t,2,5)*mod(n,3))*not(gt(t,5)*mod(floor(n*7919/3),2))'"

_SLOW_THEN_FAST = "settb=1/1000,setpts='if(lt(N,60),N/7,60/7+(N-60)/60)*1000+5*random(1)'"
_VP8 = ("-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8")

_RECIPES: dict[str, tuple[str, ...]] = {
    "cfr25.mp4": (*picture(12), *sound(12, 1, 6.5, 11), *_H264, *_AAC),
    "ntsc.mp4": (*picture(7.3, fps="30000/1001"), *sound(7.3, 2), *_H264, *_AAC),
    "one-frame-over.mp4": (*picture(10.04), *sound(10.04, 9), *_H264, *_AAC),
    "vfr.mp4": (
        *picture(9, fps="30"), *sound(9, 4, 8),
        "-vf", _SLOWER_IN_PARTS, "-fps_mode", "vfr", *_H264, *_AAC,
    ),
    "two-rates.webm": (
        *picture(8, fps="30"), *sound(11.5, 3, 9),
        "-vf", _SLOW_THEN_FAST, "-fps_mode", "passthrough", "-enc_time_base", "1/1000",
        *_VP8, "-c:a", "libopus",
    ),
    "jitter.mkv": (
        *picture(7, fps="30"), *sound(7, 1, 6),
        "-vf", "settb=1/1000,setpts='N*33+random(1)*30'", "-fps_mode", "passthrough",
        "-enc_time_base", "1/1000", *_H264, "-bf", "0", *_AAC,
    ),
    "still-for-seconds.mkv": (
        *picture(4), *sound(20, 1),
        "-vf", "settb=1/1000,setpts='if(lt(N,50),N*40,N*40+12000)'", "-fps_mode", "passthrough",
        "-enc_time_base", "1/1000", *_H264, "-bf", "0", *_AAC,
    ),
    "b-frames.mkv": (
        *picture(6), *sound(6, 5), "-c:v", "libx264", "-bf", "3", "-g", "50", *_AAC,
    ),
    "b-frames.avi": (
        *picture(6), *sound(6, 5), "-c:v", "mpeg4", "-bf", "2", "-c:a", "pcm_s16le",
    ),
    "odd.mp4": (
        *picture(3, size="161x121"), *sound(3, 1),
        "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv444p", *_AAC,
    ),
    "wide-pixels.mp4": (*picture(3), "-vf", "setsar=2", *_H264),
    "no-sound.mp4": (*picture(6), *_H264),
    "only-sound.m4a": (*sound(3, 1), *_AAC),
    "one-frame.mp4": (*picture(0.04), *_H264),
    "very-short.mp4": (*picture(0.2), *sound(0.2, 0), *_H264, *_AAC),
    "sound-shorter.mp4": (*picture(7), *sound(4, 1), *_H264, *_AAC),
    "sound-longer.mp4": (*picture(6), *sound(9, 1, 5), *_H264, *_AAC),
    "sound-late.mp4": (
        *picture(6), "-itsoffset", "1.5", *sound(4, 1), *_H264, *_AAC,
    ),
    "picture-late.mkv": (
        "-itsoffset", "1.2", *picture(6), *sound(7.2, 3, 6), "-fps_mode", "passthrough",
        *_H264, *_AAC,
    ),
    "picture-late.mp4": (
        "-itsoffset", "1.2", *picture(6), *sound(7.2, 3, 6), "-fps_mode", "passthrough",
        *_H264, *_AAC,
    ),
    "recorded-live.webm": (
        "-itsoffset", "0.8", *picture(4, fps="15"), *sound(5, 2, 4), "-fps_mode", "passthrough",
        *_VP8, "-c:a", "libopus", "-live", "1",
    ),
    "clock-not-at-zero.ts": (
        *picture(6), *sound(6, 2, 5.5), *_H264, *_AAC, "-output_ts_offset", "100",
    ),
    "sound-with-a-hole.mkv": (
        *picture(8), *sound(8, 1, 6),
        "-af", "aselect='not(between(t,2,4))'", *_H264, *_AAC,
    ),
    "many-streams.mp4": (
        *picture(6, size="64x48"), *picture(6, fps="30000/1001"), *sound(6, 1), *sound(6, 4),
        "-map", "0:v", "-map", "1:v", "-map", "2:a", "-map", "3:a", *_H264, *_AAC,
        "-disposition:a:0", "0", "-disposition:a:1", "default",
    ),
    "moov-first.mp4": (
        *picture(8), *sound(8, 1), *_H264, *_AAC, "-movflags", "+faststart",
    ),
}  # fmt: skip


class Shelf:
    """Videos by name, each made once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, name: str) -> Path:
        path = self._folder / name
        if not path.exists():
            self._make(path)
        return path

    def _make(self, path: Path) -> None:
        made = getattr(self, "_" + path.stem.replace("-", "_"), None)
        if made is None:
            _ffmpeg(*_RECIPES[path.name], f"file:{path}")
        else:
            made(path)

    def _rotated(self, path: Path) -> None:
        flat = path.with_name("flat.mp4")
        _ffmpeg(*picture(3), *sound(3, 1), *_H264, *_AAC, str(flat))
        _ffmpeg("-i", str(flat), "-c", "copy", "-metadata:s:v:0", "rotate=90", str(path))

    def _trimmed(self, path: Path) -> None:
        _ffmpeg("-ss", "1.3", "-i", str(self("cfr25.mp4")), "-c", "copy", str(path))

    def _empty(self, path: Path) -> None:
        path.touch()

    def _text(self, path: Path) -> None:
        path.write_text("This is a text, whatever its name says.\n" * 20)

    def _noise(self, path: Path) -> None:
        path.write_bytes(random.Random(0).randbytes(40_000))

    def _truncated_moov_last(self, path: Path) -> None:
        self._first_part(self("cfr25.mp4"), path, 0.5)

    def _truncated_moov_first(self, path: Path) -> None:
        self._first_part(self("moov-first.mp4"), path, 0.5)

    def _truncated_little(self, path: Path) -> None:
        self._first_part(self("moov-first.mp4"), path, 0.97)

    def _truncated(self, path: Path) -> None:
        self._first_part(self("b-frames.mkv"), path, 0.5)

    def _first_part(self, source: Path, path: Path, share: float) -> None:
        content = source.read_bytes()
        path.write_bytes(content[: int(len(content) * share)])

    def _rotten(self, path: Path) -> None:
        self._flip_bytes(path, 400)

    def _a_little_rotten(self, path: Path) -> None:
        self._flip_bytes(path, 3)

    def _flip_bytes(self, path: Path, count: int) -> None:
        content = bytearray(self("moov-first.mp4").read_bytes())
        dice = random.Random(1)
        for _ in range(count):
            content[dice.randrange(len(content) // 3, len(content))] ^= 0xFF
        path.write_bytes(content)


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Give the path of a small video by name; sources are shared, so never write to one."""
    if shutil.which("ffmpeg") is None:
        pytest.fail("ffmpeg is not installed: run `make setup`")
    return Shelf(tmp_path_factory.mktemp("videos"))


@pytest.fixture(scope="session")
def with_own_mounts() -> list[str]:
    """Give the command in front of one that mounts disks of its own; skips where nobody may."""
    prefix = ["unshare", "-rm"]
    probe = [*prefix, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    if (
        shutil.which(prefix[0]) is None
        or subprocess.run(probe, stderr=subprocess.DEVNULL, check=False).returncode
    ):
        pytest.skip("no right to mount a small disk here")
    return prefix
