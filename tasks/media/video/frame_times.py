"""Presentation times of a video stream's frames, from the container or by decoding."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from storage.errors import ItemFault
from tasks.media.ffmpeg import last_message, memory_reason, read_rows, run_ffprobe
from tasks.processes.tool import ToolLimits

_DEFAULT_GAP = 0.04
_UNKNOWN = "N/A"
_PACKET_FIELDS = "pts_time,duration_time,flags"
_FRAME_FIELDS = "best_effort_timestamp_time,pkt_duration_time,duration_time"


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameTimes:
    """Sorted presentation times of frames in seconds, and when the last frame ends.

    ``num_errors`` is the number of lines the decoder logged, ``cause`` the last of them.
    ``out_of_memory`` is true if one of them reports a failed allocation.
    """

    times: tuple[float, ...]
    end_time: float
    num_errors: int = 0
    cause: str = ""
    out_of_memory: bool = False


def list_frames(path: Path, stream: int, origin: float, *, limits: ToolLimits) -> FrameTimes:
    """List the displayed frames from the container's packets; times are relative to ``origin``.

    Frames are decoded if the container does not store their times (AVI with B-frames).

    Raises:
        ItemFault: the stream has no frame, or is encrypted.
    """
    result = run_ffprobe(
        path,
        *("-select_streams", f"v:{stream}"),
        *("-show_entries", f"packet={_PACKET_FIELDS}:packet_side_data=side_data_type"),
        *("-of", "compact"),
        limits=limits,
    )
    packets = [row for row in read_rows(result, "packet") if "D" not in row.get("flags", "")]
    if any(packet.get("side_data_type") == "Encryption info" for packet in packets):
        raise ItemFault("the video stream is encrypted: provide a decrypted file")
    times = [packet.get("pts_time", _UNKNOWN) for packet in packets]
    if _UNKNOWN in times:
        return decode_frames(path, stream, origin, limits=limits)
    gaps = [packet.get("duration_time", _UNKNOWN) for packet in packets]
    return _in_order(((float(time), gap) for time, gap in zip(times, gaps, strict=True)), origin)


def decode_frames(path: Path, stream: int, origin: float, *, limits: ToolLimits) -> FrameTimes:
    """List the frames that actually decode; times are relative to ``origin``.

    Raises:
        ItemFault: no frame decodes.
    """
    result = run_ffprobe(
        path,
        *("-err_detect", "ignore_err", "-select_streams", f"v:{stream}"),
        *("-show_entries", f"frame={_FRAME_FIELDS}", "-of", "compact"),
        limits=limits,
    )
    timed: list[tuple[float, str]] = []
    for row in read_rows(result, "frame"):
        gap = row.get("duration_time", row.get("pkt_duration_time", _UNKNOWN))
        time = row.get("best_effort_timestamp_time", _UNKNOWN)
        timed.append((_after(timed) if time == _UNKNOWN else float(time), gap))
    if not timed and result.out_of_memory:
        raise ItemFault(memory_reason(limits))
    frames = _in_order(timed, origin)
    return replace(
        frames,
        num_errors=result.num_stderr_lines,
        cause=last_message(result),
        out_of_memory=result.out_of_memory,
    )


def _after(timed: list[tuple[float, str]]) -> float:
    """Estimate the time of a frame without a timestamp: right after the previous frame."""
    if not timed:
        return 0.0
    time, gap = timed[-1]
    return time + (_seconds(gap) or _DEFAULT_GAP)


def _in_order(timed: Iterable[tuple[float, str]], origin: float) -> FrameTimes:
    """Sort frames by time; a last frame of unknown duration lasts for the median gap."""
    frames = sorted((time - origin, _seconds(gap)) for time, gap in timed)
    if not frames:
        raise ItemFault("the video stream has no displayable frame")
    times = tuple(time for time, _ in frames)
    return FrameTimes(times=times, end_time=times[-1] + (frames[-1][1] or _median_gap(times)))


def _seconds(text: str) -> float:
    return 0.0 if text == _UNKNOWN else float(text)


def _median_gap(times: tuple[float, ...]) -> float:
    gaps = sorted(b - a for a, b in pairwise(times) if b > a)
    return gaps[len(gaps) // 2] if gaps else _DEFAULT_GAP
