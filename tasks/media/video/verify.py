"""Check which frames of a video were written, and when they are displayed.

ffmpeg's exit status proves nothing: the written files are opened again, and the time of each frame
on the source's clock is compared with the plan.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

import av

from storage.errors import FramesFault
from tasks.media.plan import PlannedSegment
from tasks.media.video.command import LIST_NAME, video_name
from tasks.media.video.frame_times import CLOCK_SLACK

_NO_TIMES: tuple[float, ...] = ()


def check_written_frames(
    plan: Sequence[PlannedSegment],
    frame_times: Sequence[float],
    folder: Path,
    *,
    max_segment_ms: int,
    cause: str,
) -> None:
    """Check that every segment's file contains exactly the planned frames at their times.

    ``frame_times`` are the source's, in seconds; held segments contain none of them. ``cause`` is
    ffmpeg's last error.

    Raises:
        FramesFault: the decoder returned other frames than listed, or at other times.
    """
    planned = [segment for segment in plan if not segment.is_held]
    written = [read_times(folder / video_name(segment.index)) for segment in planned]
    details = f" (ffmpeg: {cause})" if cause else ""
    expected = [segment.num_frames for segment in planned]
    if [len(times) for times in written] != expected:
        raise FramesFault(
            f"damaged: {sum(map(len, written))} of {sum(expected)} frames could be decoded into "
            f"{sum(map(bool, written))} of {len(planned)} segments{details}"
        )
    starts = _read_starts(folder / LIST_NAME)
    if len(starts) != len(planned):
        raise FramesFault(f"ffmpeg lists {len(starts)} of {len(planned)} segments{details}")
    for segment, start, times in zip(planned, starts, written, strict=True):
        _check_times(segment, [start + time for time in times], frame_times)
        if (max(times) - min(times)) * 1000 > max_segment_ms:
            raise FramesFault(
                f"the frames of segment {segment.index} were written over {max(times):.2f} s, "
                f"longer than {max_segment_ms} ms"
            )


def _check_times(
    segment: PlannedSegment, written: Sequence[float], frame_times: Sequence[float]
) -> None:
    """Compare when a segment's frames are displayed, in seconds from the first frame."""
    expected = frame_times[segment.first_frame : segment.end_frame]
    for time, source_time in zip(written, expected, strict=True):
        planned = source_time - frame_times[0]
        if abs(time - planned) > CLOCK_SLACK:
            raise FramesFault(
                f"the clock of the video is not continuous: ffmpeg decodes the frame listed at "
                f"{planned:.3f} s at {time:.3f} s"
            )


def check_held_frames(plan: Sequence[PlannedSegment], folder: Path, max_segment_ms: int) -> None:
    """Check that every held segment's file starts with a frame and is not too long.

    Raises:
        FramesFault: a file is missing, or has other frames.
    """
    for segment in plan:
        if segment.is_held:
            times = read_times(folder / video_name(segment.index))
            if not times or times[0] > CLOCK_SLACK or times[-1] * 1000 > max_segment_ms:
                raise FramesFault(
                    f"the frame that stands still from {segment.start_ms} ms on was not written"
                )


def read_times(path: Path) -> tuple[float, ...]:
    """Return when each frame of a written segment is displayed, in seconds, as they were written.

    Empty if the file is missing or cannot be read.
    """
    if not path.exists() or path.stat().st_size == 0:
        return _NO_TIMES
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                return _NO_TIMES
            return tuple(
                float(packet.pts * packet.time_base)
                for packet in container.demux(container.streams.video[0])
                if packet.size > 0 and packet.pts is not None and packet.time_base
            )
    except av.FFmpegError:
        return _NO_TIMES


def _read_starts(path: Path) -> list[float]:
    """Read when each part starts on the source's clock, in seconds, from ffmpeg's own list."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        return [float(start) for _, start, _ in csv.reader(stream)]
