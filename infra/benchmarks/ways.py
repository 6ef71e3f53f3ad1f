"""Ways to cut one video, for comparison: Waver's, the paper's, and decoding alone."""

import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from storage.fingerprint import digest_file
from storage.media_records import SegmentRecord
from storage.store.store import Store
from storage.store.variant import ItemOutput
from tasks.media.ffmpeg import input_url
from tasks.segment import SegmentConfig, SourceVideo, segment_videos, variant_of

SEGMENT_SECONDS = 5
_TIMEOUT_SECONDS = 3_600

Way = Callable[[Path, float, Path], None]
"""Cuts a video (path, seconds) into an empty folder."""


def _run_ffmpeg(arguments: Sequence[str], folder: Path) -> None:
    command = ["ffmpeg", "-hide_banner", "-loglevel", "error", "-y", *arguments]
    subprocess.run(
        command, check=True, cwd=folder, stdin=subprocess.DEVNULL, timeout=_TIMEOUT_SECONDS
    )


def decode(video: Path, _seconds: float, folder: Path) -> None:
    """Decode video and audio once and discard them."""
    _run_ffmpeg(["-i", input_url(video), "-f", "null", "-"], folder)


def cut_as_the_paper(video: Path, seconds: float, folder: Path) -> None:
    """Encode every segment in a separate call at full size, and the audio in one more call."""
    num_segments = max(1, -(-round(seconds * 1000) // (SEGMENT_SECONDS * 1000)))
    for k in range(num_segments):
        window = ["-ss", str(k * SEGMENT_SECONDS), "-t", str(SEGMENT_SECONDS)]
        encoder = ["-c:v", "libx264", "-crf", "18", "-preset", "veryfast", "-an", f"{k:04d}.mp4"]
        _run_ffmpeg([*window, "-i", input_url(video), *encoder], folder)
    _run_ffmpeg(["-i", input_url(video), "-vn", "-ac", "1", "-ar", "16000", "audio.wav"], folder)


def cut_as_waver(video: Path, _seconds: float, folder: Path) -> None:
    """Run the segment stage's function: digests, probing, planning, cutting, verification."""
    (output,) = segment_outputs(video, folder)
    if not any(isinstance(row, SegmentRecord) for row in output.rows):
        raise ValueError(f"{video.name!r} cannot be measured: {output.rows[0]}")


def segment_outputs(video: Path, folder: Path) -> list[ItemOutput]:
    """Return the segment stage's outputs for one video."""
    config = SegmentConfig()
    variant = variant_of(Store(str(folder / "store")), config)
    cut = folder / "cut"
    cut.mkdir()
    sources = {video.name: SourceVideo(path=video, source_digest=digest_file(video))}
    return list(segment_videos([video.name], sources, config, variant, cut))


WAYS: Mapping[str, Way] = {
    "pure decoding": decode,
    "the paper's way": cut_as_the_paper,
    "waver": cut_as_waver,
}
