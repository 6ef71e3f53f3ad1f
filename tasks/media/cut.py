"""Cut a video into segment files with one ffmpeg call."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from storage.errors import ItemFault
from storage.records import AUDIO_SAMPLE_RATE
from tasks.media.command import (
    AUDIO_NAME,
    GRAY_NAME,
    audio_command,
    audio_name,
    cut_command,
)
from tasks.media.ffmpeg import error_cause, run_ffmpeg
from tasks.media.perceptual_hash import VIDEO_HASH_SIZE, MediaHashes, hashes_of
from tasks.media.plan import PlannedSegment
from tasks.media.probe import SourceMedia
from tasks.media.verify import audio_length_warnings, check_written_frames
from tasks.media.wav import read_audio, write_audio
from tasks.processes.tool import ToolLimits

_LONGEST_ARGUMENT = 120_000  # bytes; Linux allows 128 KiB


@dataclass(frozen=True, slots=True, kw_only=True)
class CutReport:
    """Errors that ffmpeg logged (lines, and the last of them), warnings, and perceptual hashes."""

    num_errors: int
    cause: str
    warnings: tuple[str, ...]
    hashes: MediaHashes


def cut(
    source: SourceMedia,
    plan: Sequence[PlannedSegment],
    folder: Path,
    *,
    long_side: int,
    crf: int,
    limits: ToolLimits,
) -> CutReport:
    """Write all segments of a video into an empty ``folder``.

    Raises:
        FramesFault: the decoder returned other frames than the container lists.
        ItemFault: the decoder timed out, or the plan has too many segments for one call.
        StageError: ffmpeg was killed.
        ToolError: ffmpeg is not installed, or was built without the encoder.
        OSError: the folder's disk is full.
    """
    command = cut_command(source, plan, long_side=long_side, crf=crf)
    if max(map(len, command)) > _LONGEST_ARGUMENT:
        raise ItemFault(
            f"too long for one ffmpeg call ({len(plan)} segments): split the file into parts"
        )
    result = run_ffmpeg(command, folder, limits)
    cause = error_cause(result, limits)
    check_written_frames(plan, folder, cause)
    gray = _take_gray(folder / GRAY_NAME)
    audio = _take_audio(source, folder)
    warnings: tuple[str, ...] = ()
    if source.audio_stream is not None:
        warnings = audio_length_warnings(source, len(audio))
        _write_segments(plan, audio, folder)
    return CutReport(
        num_errors=result.num_stderr_lines,
        cause=cause,
        warnings=warnings,
        hashes=hashes_of(gray, audio[: plan[-1].end_sample]),
    )


def cut_audio(
    source: SourceMedia,
    plan_for: Callable[[int], Sequence[PlannedSegment]],
    folder: Path,
    *,
    limits: ToolLimits,
) -> tuple[tuple[PlannedSegment, ...], CutReport]:
    """Write all segments of a file without video; ``plan_for`` maps a sample count to the plan.

    Raises:
        ItemFault: the decoder timed out, or returned no audio.
        StageError: ffmpeg was killed.
        ToolError: ffmpeg is not installed.
        OSError: the folder's disk is full.
    """
    result = run_ffmpeg(audio_command(source), folder, limits)
    cause = error_cause(result, limits)
    audio = _take_audio(source, folder)
    if not len(audio):
        raise ItemFault(f"damaged: no audio could be decoded (ffmpeg: {cause or 'no message'})")
    plan = tuple(plan_for(len(audio)))
    _write_segments(plan, audio, folder)
    no_frames = np.zeros((0, *reversed(VIDEO_HASH_SIZE)), np.uint8)
    return plan, CutReport(
        num_errors=result.num_stderr_lines,
        cause=cause,
        warnings=(),
        hashes=hashes_of(no_frames, audio),
    )


def _take_gray(path: Path) -> npt.NDArray[np.uint8]:
    """Read and delete the small frames [frames, height, width]."""
    width, height = VIDEO_HASH_SIZE
    pixels = np.fromfile(path, np.uint8)
    path.unlink()
    return pixels[: len(pixels) // (width * height) * width * height].reshape(-1, height, width)


def _take_audio(source: SourceMedia, folder: Path) -> npt.NDArray[np.int16]:
    """Read and delete the whole audio, shifted to start with the video's first frame."""
    audio = read_audio(folder / AUDIO_NAME)
    (folder / AUDIO_NAME).unlink(missing_ok=True)
    offset = round(source.start_time * AUDIO_SAMPLE_RATE) if source.audio_stream is not None else 0
    return audio[offset:] if offset >= 0 else np.pad(audio, (-offset, 0))


def _write_segments(
    plan: Sequence[PlannedSegment], audio: npt.NDArray[np.int16], folder: Path
) -> None:
    """Write each segment's samples; audio that ends early is padded with silence."""
    audio = np.pad(audio, (0, max(0, plan[-1].end_sample - len(audio))))
    for segment in plan:
        samples = audio[segment.first_sample : segment.end_sample]
        write_audio(folder / audio_name(segment.index), samples)
