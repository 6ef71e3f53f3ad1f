"""How good the frames of damaged videos are that the segment stage keeps, and that it rejects.

``python -m infra.benchmarks.damage [--video PATH] [--copies N]`` encodes one video in each codec,
flips bytes in copies of it, cuts them, and compares each decoded frame with the undamaged one.
"""

import argparse
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from infra.benchmarks.duplicate_media import make_sources
from storage.errors import ItemFault
from tasks.media.cut_video import cut_video
from tasks.media.rules import CutRules

_X264 = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "24")
_X265 = ("-c:v", "libx265", "-preset", "ultrafast", "-crf", "26", "-x265-params")
_VPX = ("-g", "60", "-b:v", "300k", "-deadline", "realtime", "-cpu-used", "8")
CODECS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "H.264, key frame every 10 s": ("mp4", (*_X264, "-g", "250")),
    "H.264, every 1.2 s": ("mp4", (*_X264, "-g", "30")),
    "H.264, four slices": ("mkv", (*_X264, "-g", "30", "-x264-params", "slices=4")),
    "H.264, transport stream": ("ts", (*_X264, "-g", "30")),
    "MPEG-4": ("avi", ("-c:v", "mpeg4", "-g", "30", "-q:v", "4")),
    "MPEG-2": ("mpg", ("-c:v", "mpeg2video", "-g", "15", "-q:v", "4")),
    "MJPEG": ("avi", ("-c:v", "mjpeg", "-q:v", "4", "-pix_fmt", "yuvj420p")),
    "ProRes": ("mov", ("-c:v", "prores_ks", "-profile:v", "0")),
    "HEVC, every 1.2 s": ("mp4", (*_X265, "log-level=none:keyint=30")),
    "HEVC, every 10 s": ("mkv", (*_X265, "log-level=none:keyint=250")),
    "VP8": ("webm", ("-c:v", "libvpx", *_VPX)),
    "VP9": ("webm", ("-c:v", "libvpx-vp9", *_VPX)),
}
NUM_FLIPS = (1, 2, 5, 10, 20, 40, 60)
_RULES = CutRules(max_segment_ms=5_000, long_side=96, crf=35, min_decoded_fraction=0.9)
_MEMORY_MB = 4_096
_SECONDS = 10
_WIDTH, _HEIGHT = 240, 136
_HEADER, _INDEX = 3_000, 8_000  # bytes that are left alone at the start and the end of a file
_BAD_DB, _FAIR_DB = 25.0, 30.0
_MAX_BAD = 0.1

Frames = Mapping[int, npt.NDArray[np.uint8]]  # gray [height, width], by time in 1/90000 s


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one damaged file, and the fractions of its frames that are bad or not fair."""

    is_kept: bool
    bad: float
    unfair: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m infra.benchmarks.damage")
    parser.add_argument("--video", type=Path, help="of your own, instead of a synthetic face")
    parser.add_argument("--copies", type=int, default=4, help="files for each number of flips")
    options = parser.parse_args(arguments)
    print("| codec | files | kept | of these bad | rejected | of these fair |\n" + "|---" * 6 + "|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        video = options.video or make_sources(folder, 3, 11)[0].path
        for codec, (suffix, encoder) in CODECS.items():
            clean = folder / f"clean.{suffix}"
            _encode(video, encoder, clean)
            print(_row(codec, list(outcomes(codec, clean, options.copies))), flush=True)
    print(
        f"\nbad: over {_MAX_BAD:.0%} of the frames are missing or below {_BAD_DB:.0f} dB; "
        f"fair: at most {_MAX_BAD:.0%} are missing or below {_FAIR_DB:.0f} dB"
    )
    return 0


def outcomes(codec: str, clean: Path, num_copies: int) -> Iterator[Outcome]:
    """Damage copies of a file and cut them."""
    content, frames = clean.read_bytes(), decode(clean)
    damaged = clean.with_name(f"damaged{clean.suffix}")
    for num_flips in NUM_FLIPS:
        for seed in range(num_copies):
            source = random.Random(f"{codec} {num_flips} {seed}")
            damaged.write_bytes(flip_bytes(content, num_flips, source))
            quality = levels(frames, decode(damaged))
            yield Outcome(
                is_kept=_is_kept(damaged),
                bad=float(np.mean(quality < _BAD_DB)),
                unfair=float(np.mean(quality < _FAIR_DB)),
            )


def flip_bytes(content: bytes, num_flips: int, source: random.Random) -> bytes:
    """Change bytes at random positions, but none of the container's header and index."""
    changed = bytearray(content)
    for _ in range(num_flips):
        changed[source.randrange(_HEADER, len(changed) - _INDEX)] ^= source.randint(1, 255)
    return bytes(changed)


def levels(clean: Frames, damaged: Frames) -> npt.NDArray[np.float64]:
    """Return the peak signal-to-noise ratio of each clean frame, in dB; 0 if it is missing."""
    found = []
    for time, frame in clean.items():
        if time not in damaged:
            found.append(0.0)
            continue
        error = float(np.mean(np.square(damaged[time].astype(float) - frame)))
        found.append(99.0 if error < 1e-3 else 10 * np.log10(255**2 / error))
    return np.array(found)


def decode(path: Path) -> Frames:
    """Decode all frames that ffmpeg returns."""
    raw = path.with_suffix(".raw")
    result = subprocess.run(
        [
            "ffmpeg", "-v", "quiet", "-err_detect", "ignore_err", "-threads", "1", "-y",
            "-i", str(path),
            "-filter_complex", f"[0:v:0]scale={_WIDTH}:{_HEIGHT},split[a][b]",
            "-map", "[a]", "-fps_mode", "passthrough", "-pix_fmt", "gray",
            "-f", "rawvideo", str(raw),
            "-map", "[b]", "-fps_mode", "passthrough", "-enc_time_base", "1/90000",
            "-c:v", "wrapped_avframe", "-f", "framecrc", "-",
        ],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False, timeout=300,
    )  # fmt: skip
    lines = [line for line in result.stdout.splitlines() if not line.startswith(b"#")]
    times = [int(line.split(b",")[2]) for line in lines]
    pixels = np.fromfile(raw, np.uint8)
    count = min(len(times), len(pixels) // (_WIDTH * _HEIGHT))
    frames = pixels[: count * _WIDTH * _HEIGHT].reshape(count, _HEIGHT, _WIDTH)
    return dict(zip(times[:count], frames, strict=True))


def _encode(video: Path, encoder: Sequence[str], path: Path) -> None:
    scaled = ("-t", str(_SECONDS), "-vf", f"scale={_WIDTH}:{_HEIGHT},format=yuv420p")
    command = ["ffmpeg", "-v", "error", "-y", "-i", str(video), *scaled, "-an", *encoder, str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=300)


def _is_kept(path: Path) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        try:
            cut_video(path, Path(folder), _RULES, _MEMORY_MB)
        except ItemFault:
            return False
    return True


def _row(codec: str, found: Sequence[Outcome]) -> str:
    kept = [outcome for outcome in found if outcome.is_kept]
    rejected = [outcome for outcome in found if not outcome.is_kept]
    num_bad = sum(outcome.bad > _MAX_BAD for outcome in kept)
    num_fair = sum(outcome.unfair <= _MAX_BAD for outcome in rejected)
    return f"| {codec} | {len(found)} | {len(kept)} | {num_bad} | {len(rejected)} | {num_fair} |"


if __name__ == "__main__":
    sys.exit(main())
