"""Check what ffmpeg read and wrote, and reject videos that are too damaged.

ffmpeg's exit status proves nothing: the written files are opened again and counted.
"""

from collections.abc import Sequence
from pathlib import Path

import av

from storage.errors import FramesFault, ItemFault
from storage.records import AUDIO_SAMPLE_RATE
from tasks.media.command import AUDIO_BEYOND_SECONDS, video_name
from tasks.media.ffmpeg import memory_reason
from tasks.media.frame_times import FrameTimes
from tasks.media.plan import PlannedSegment
from tasks.media.probe import SourceMedia
from tasks.processes.tool import ToolLimits

_AUDIO_TOLERANCE_SECONDS = 0.5
_WARN_SECONDS = 0.5
_PADDING_SECONDS = 0.25  # encoder padding of the first and last audio packet, at 8 kHz
_LINES_PER_FRAME = 2  # a decoder logs where a frame broke, then what it concealed


def check_length(source: SourceMedia, min_fraction: float) -> list[str]:
    """Compare the length that the container declares with where its frames (or audio) end.

    Returns:
        Warnings about a video that is shorter than declared.

    Raises:
        ItemFault: less than ``min_fraction`` of the declared length is present.
    """
    declared, found = source.declared_seconds, source.duration_seconds
    message = f"the container declares {declared:.2f} s of video, its frames end at {found:.2f} s"
    if source.video_stream is None:
        message = f"the container declares {declared:.2f} s of audio, it ends at {found:.2f} s"
    if found < min_fraction * declared:
        raise ItemFault(f"truncated: {message}")
    return [message] if declared - found > _WARN_SECONDS else []


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


def check_audio_decoding(
    source: SourceMedia, num_samples: int, min_fraction: float, num_errors: int, cause: str
) -> list[str]:
    """Compare the samples of a file without video with the length and packets of its container.

    Raises:
        ItemFault: less than ``min_fraction`` of the audio decodes.
    """
    decoded, listed = num_samples / AUDIO_SAMPLE_RATE, source.duration_seconds
    lost = max(0.0, listed - decoded - _PADDING_SECONDS)
    damaged = num_errors / _LINES_PER_FRAME
    message = f"{decoded:.2f} of {listed:.2f} s of audio decode"
    if num_errors:
        message += f", with {num_errors} errors (ffmpeg: {cause})"
    allowed = 1 - min_fraction
    if lost > allowed * listed or damaged > allowed * source.num_packets:
        raise ItemFault(f"damaged: {message}")
    return [message] if num_errors or lost > _WARN_SECONDS else []


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


def audio_length_warnings(source: SourceMedia, num_samples: int) -> tuple[str, ...]:
    """Compare the decoded audio's length with the video's."""
    difference = num_samples / AUDIO_SAMPLE_RATE - source.duration_seconds
    if abs(difference) <= _AUDIO_TOLERANCE_SECONDS:
        return ()
    if difference >= AUDIO_BEYOND_SECONDS - _AUDIO_TOLERANCE_SECONDS:
        return (f"the audio is at least {AUDIO_BEYOND_SECONDS:.0f} s longer than the video",)
    comparison = "longer" if difference > 0 else "shorter"
    return (f"the audio is {abs(difference):.2f} s {comparison} than the video",)
