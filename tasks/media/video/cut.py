"""Cut a video stream into segment files with one ffmpeg call."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from storage.errors import ItemFault
from tasks.media.ffmpeg import error_cause, run_ffmpeg
from tasks.media.perceptual_hash import VIDEO_HASH_SIZE
from tasks.media.plan import PlannedSegment
from tasks.media.probe import SourceMedia
from tasks.media.video.command import GRAY_NAME, cut_command
from tasks.media.video.verify import check_written_frames
from tasks.processes.tool import ToolLimits

Gray = npt.NDArray[np.uint8]
NO_FRAMES: Gray = np.zeros((0, *reversed(VIDEO_HASH_SIZE)), np.uint8)

_LONGEST_ARGUMENT = 120_000  # bytes; Linux allows 128 KiB


@dataclass(frozen=True, slots=True, kw_only=True)
class CutFrames:
    """A video stream whose segments were written.

    ``num_errors`` is the number of lines that ffmpeg logged, ``cause`` the last of them. ``gray``
    are small frames [frames, height, width] at a constant rate.
    """

    num_errors: int
    cause: str
    gray: Gray


def cut_frames(
    source: SourceMedia,
    plan: Sequence[PlannedSegment],
    folder: Path,
    *,
    long_side: int,
    crf: int,
    limits: ToolLimits,
) -> CutFrames:
    """Write the video of all segments into an empty ``folder``.

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
    return CutFrames(
        num_errors=result.num_stderr_lines, cause=cause, gray=_take_gray(folder / GRAY_NAME)
    )


def _take_gray(path: Path) -> Gray:
    """Read and delete the small frames [frames, height, width]."""
    width, height = VIDEO_HASH_SIZE
    pixels = np.fromfile(path, np.uint8)
    path.unlink()
    return pixels[: len(pixels) // (width * height) * width * height].reshape(-1, height, width)
