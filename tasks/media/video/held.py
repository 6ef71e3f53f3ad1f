"""Segments in which a single frame stands still: it is what was on the screen."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

from tasks.media.ffmpeg import run_ffmpeg
from tasks.media.plan import PlannedSegment
from tasks.media.video.command import HOLD_RATE, hold_command, rename_parts, video_name
from tasks.media.video.verify import read_times
from tasks.processes.tool import ToolLimits


def num_repeats(segment: PlannedSegment) -> int:
    """Return how many frames a segment's file has that repeats one frame at `HOLD_RATE`."""
    return max(1, -(-(segment.end_ms - segment.start_ms) * HOLD_RATE // 1000))


def write_held(
    plan: Sequence[PlannedSegment], folder: Path, *, crf: int, limits: ToolLimits
) -> None:
    """Write the held segments' files; each repeats the last frame written before it.

    Raises:
        ItemFault: the encoder timed out.
        StageError: ffmpeg was killed.
        OSError: the folder's disk is full.
    """
    for before, held in _runs(plan):
        name = video_name(before.index)
        last_frame = len(read_times(folder / name)) - 1
        counts = [num_repeats(segment) for segment in held]
        run_ffmpeg(hold_command(name, last_frame, counts, crf=crf), folder, limits)
        rename_parts(held, folder)


def _runs(
    plan: Sequence[PlannedSegment],
) -> Iterable[tuple[PlannedSegment, list[PlannedSegment]]]:
    """Yield each stretch of held segments with the segment before it."""
    for is_held, run in groupby(plan, key=lambda segment: segment.is_held):
        segments = list(run)
        if is_held:
            yield plan[segments[0].index - 1], segments
