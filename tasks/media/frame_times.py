"""When each frame of a picture stream is shown: by the container's word, or by decoding."""

import signal
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from storage.errors import ItemFault, StageError
from tasks.processes.tool import ToolLimits, ToolResult, run_tool

_USUAL_GAP = 0.04
_UNKNOWN = "N/A"
_SHOWN = "pts_time,duration_time,flags"


@dataclass(frozen=True, slots=True, kw_only=True)
class Frames:
    """Frames' times in seconds, sorted, and when the last one ends.

    ``num_errors`` counts the lines in which the decoder complained; ``cause`` is the last of them.
    ``out_of_memory`` is true if one of them says that it got no more memory.
    """

    times: tuple[float, ...]
    end_time: float
    num_errors: int = 0
    cause: str = ""
    out_of_memory: bool = False


def input_url(path: Path) -> str:
    """Name a local file so that ffmpeg takes no part of it for an option or a protocol."""
    return f"file:{path.resolve()}"


def run_ffprobe(path: Path, *arguments: str, limits: ToolLimits) -> ToolResult:
    """Run ffprobe on a file.

    Raises:
        ItemFault: it did not end in time, or asked for too much memory.
        StageError: it was killed.
        ToolError: ffprobe is not installed.
    """
    command = ["ffprobe", "-v", "error", "-threads", "1", *arguments, input_url(path)]
    result = run_tool(command, limits=limits)
    if result.timed_out:
        raise ItemFault(f"probing did not end within {limits.seconds:.0f} s and was stopped")
    if result.status and result.out_of_memory:
        raise ItemFault(memory_reason(limits))
    check_not_killed("ffprobe", result)
    return result


_CRASHES = {signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE, signal.SIGILL, signal.SIGBUS}


def check_not_killed(program: str, result: ToolResult) -> None:
    """Refuse to judge a video by a program that somebody else ended: too little memory, a person.

    Raises:
        ItemFault: the program crashed of its own, over this video.
        StageError: a signal from outside ended the program.
    """
    if -result.status in _CRASHES:
        raise ItemFault(f"{program} crashed on it (signal {-result.status})")
    if result.status < 0:
        raise StageError(
            f"{program} was killed by signal {-result.status} in the middle of a video: see that "
            "there is memory enough and run again; what is finished is kept."
        )


def memory_reason(limits: ToolLimits) -> str:
    """Say that a video asks for more memory than it is given, and how to give it more."""
    return (
        f"it needs more memory than the {limits.memory_mb} MiB that one ffmpeg may take: if it is "
        "what it should be, set resources.segment.child_memory_mb higher and run again with "
        "--force segment"
    )


def last_cause(result: ToolResult) -> str:
    """Give what ffmpeg complained of last, without the address of the part that complained."""
    return result.stderr_tail[-1].split("] ")[-1] if result.stderr_tail else ""


def list_frames(path: Path, stream: int, origin: float, *, limits: ToolLimits) -> Frames:
    """List the shown frames as the container has them; times count from ``origin``.

    Where the container leaves times out (AVI with B-frames), the frames are decoded.

    Raises:
        ItemFault: the stream has no frame, or its frames are encrypted.
    """
    result = run_ffprobe(
        path,
        *("-select_streams", f"v:{stream}"),
        *("-show_entries", f"packet={_SHOWN}:packet_side_data=side_data_type", "-of", "compact"),
        limits=limits,
    )
    packets = [row for row in read_rows(result, "packet") if "D" not in row.get("flags", "")]
    if any(packet.get("side_data_type") == "Encryption info" for packet in packets):
        raise ItemFault("its picture is encrypted: hand it in decrypted")
    times = [packet.get("pts_time", _UNKNOWN) for packet in packets]
    if _UNKNOWN in times:
        return decode_frames(path, stream, origin, limits=limits)
    gaps = [packet.get("duration_time", _UNKNOWN) for packet in packets]
    return _in_order(((float(time), gap) for time, gap in zip(times, gaps, strict=True)), origin)


def decode_frames(path: Path, stream: int, origin: float, *, limits: ToolLimits) -> Frames:
    """List the frames that really decode; times count from ``origin``.

    Raises:
        ItemFault: none does.
    """
    shown = "frame=best_effort_timestamp_time,pkt_duration_time,duration_time"
    result = run_ffprobe(
        path,
        *("-err_detect", "ignore_err", "-select_streams", f"v:{stream}"),
        *("-show_entries", shown, "-of", "compact"),
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
        cause=last_cause(result),
        out_of_memory=result.out_of_memory,
    )


def read_rows(result: ToolResult, kind: str) -> Iterable[dict[str, str]]:
    """Read ffprobe's compact output: ``kind|name=value|...``."""
    for line in result.output.decode(errors="replace").splitlines():
        name, *pairs = line.split("|")
        if name == kind:
            yield dict(pair.split("=", 1) for pair in pairs if "=" in pair)


def _after(timed: list[tuple[float, str]]) -> float:
    """Guess the time of a frame that has none: right after the one before."""
    if not timed:
        return 0.0
    time, gap = timed[-1]
    return time + (_seconds(gap) or _USUAL_GAP)


def _in_order(timed: Iterable[tuple[float, str]], origin: float) -> Frames:
    """Sort frames by time; the last one lasts as stated, else as the middle one of all."""
    shown = sorted((time - origin, _seconds(gap)) for time, gap in timed)
    if not shown:
        raise ItemFault("its picture stream holds no frame that can be shown")
    times = tuple(time for time, _ in shown)
    return Frames(times=times, end_time=times[-1] + (shown[-1][1] or _median_gap(times)))


def _seconds(text: str) -> float:
    return 0.0 if text == _UNKNOWN else float(text)


def _median_gap(times: tuple[float, ...]) -> float:
    gaps = sorted(b - a for a, b in pairwise(times) if b > a)
    return gaps[len(gaps) // 2] if gaps else _USUAL_GAP
