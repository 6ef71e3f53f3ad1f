"""Check which frames of a video decode, and which were written.

ffmpeg's exit status proves nothing: the written files are opened again and counted.
"""

from collections.abc import Sequence
from pathlib import Path

import av

from storage.errors import FramesFault, ItemFault
from tasks.media.ffmpeg import memory_reason
from tasks.media.plan import PlannedSegment
from tasks.media.video.command import video_name
from tasks.media.video.frame_times import FrameTimes
from tasks.processes.tool import ToolLimits

_LINES_PER_FRAME = 2  # a decoder logs where a frame broke, then what it concealed


def check_decoding(
    num_listed: int, decoded: FrameTimes, min_fraction: float, limits: ToolLimits
) -> list[str]:
    """Compare the listed frames with those that decode, counting decoder errors as lost frames.

    Raises:
        ItemFault: less than ``min_fraction`` of the frames decode.
    """
    lost = max(0, num_listed - len(decoded.times))
    damaged = decoded.num_errors / _LINES_PER_FRAME
    message = f"{len(decoded.times)} of {num_listed} frames decode"
    if decoded.num_errors:
        message += f", with {decoded.num_errors} errors (ffmpeg: {decoded.cause})"
    if lost + damaged > (1 - min_fraction) * num_listed:
        raise ItemFault(memory_reason(limits) if decoded.out_of_memory else f"damaged: {message}")
    return [message] if lost or decoded.num_errors else []


def check_written_frames(plan: Sequence[PlannedSegment], folder: Path, cause: str) -> None:
    """Check that every segment's file contains exactly the planned frames.

    Raises:
        FramesFault: the decoder returned other frames than the container lists.
    """
    written = [count_frames(folder / video_name(segment.index)) for segment in plan]
    expected = [segment.num_frames for segment in plan]
    if written != expected:
        details = f" (ffmpeg: {cause})" if cause else ""
        raise FramesFault(
            f"damaged: {sum(written)} of {sum(expected)} frames could be decoded into "
            f"{sum(count > 0 for count in written)} of {len(plan)} segments{details}"
        )


def count_frames(path: Path) -> int:
    """Count the frames of a written segment; 0 if the file is missing or cannot be read."""
    if not path.exists() or path.stat().st_size == 0:
        return 0
    try:
        with av.open(str(path)) as container:
            videos = container.streams.video
            return sum(packet.size > 0 for packet in container.demux(videos)) if videos else 0
    except av.FFmpegError:
        return 0
