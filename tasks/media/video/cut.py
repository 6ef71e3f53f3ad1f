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
from tasks.media.rules import CutRules
from tasks.media.video.command import (
    GRAY_NAME,
    LIST_NAME,
    LUMA_NAME,
    cut_command,
    rename_parts,
)
from tasks.media.video.frame_size import FrameSize, output_size, sizes_in_log
from tasks.media.video.held import write_held
from tasks.media.video.quality import LUMA_SIZE, FrameFlags, find_flags
from tasks.media.video.verify import check_held_frames, check_written_frames
from tasks.processes.tool import ToolLimits

Gray = npt.NDArray[np.uint8]
NO_FRAMES: Gray = np.zeros((0, *reversed(VIDEO_HASH_SIZE)), np.uint8)

_LONGEST_ARGUMENT = 120_000  # bytes; Linux allows 128 KiB


@dataclass(frozen=True, slots=True, kw_only=True)
class CutFrames:
    """A video stream whose segments were written.

    ``num_errors`` is the number of errors that ffmpeg logged, ``cause`` the last of them. ``gray``
    are small frames [frames, height, width] at a constant rate, ``flags`` which frames are black or
    frozen. ``sizes`` are all sizes of the source's frames, in order; more than one if it changes.
    """

    num_errors: int
    cause: str
    gray: Gray
    flags: FrameFlags
    sizes: tuple[FrameSize, ...]


def cut_frames(
    source: SourceMedia,
    plan: Sequence[PlannedSegment],
    folder: Path,
    rules: CutRules,
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
    parts = [segment for segment in plan if not segment.is_held]
    size = output_size(source.frame_size, rules.long_side)
    first_frames = [segment.first_frame for segment in parts]
    command = cut_command(source, first_frames, size=size, crf=rules.crf)
    if max(map(len, command)) > _LONGEST_ARGUMENT:
        raise ItemFault(
            f"too long for one ffmpeg call ({len(plan)} segments): split the file into parts"
        )
    result = run_ffmpeg(command, folder, limits)
    rename_parts(parts, folder)
    cause, longest = error_cause(result, limits), rules.max_segment_ms
    check_written_frames(plan, source.frame_times, folder, max_segment_ms=longest, cause=cause)
    (folder / LIST_NAME).unlink()
    write_held(plan, folder, crf=rules.crf, limits=limits)
    check_held_frames(plan, folder, longest)
    return CutFrames(
        num_errors=result.num_stderr_lines,
        cause=cause,
        gray=_take_frames(folder / GRAY_NAME, VIDEO_HASH_SIZE),
        flags=find_flags(_take_frames(folder / LUMA_NAME, LUMA_SIZE), plan[-1].end_ms),
        sizes=sizes_in_log(result.stderr.splitlines(), is_turned=source.is_turned),
    )


def _take_frames(path: Path, size: tuple[int, int]) -> Gray:
    """Read and delete small frames [frames, height, width]."""
    width, height = size
    pixels = np.fromfile(path, np.uint8)
    path.unlink()
    return pixels[: len(pixels) // (width * height) * width * height].reshape(-1, height, width)
