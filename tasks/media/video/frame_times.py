"""Presentation times of a video stream's frames, from the container or by decoding."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import ffmpeg

from storage.errors import ItemFault
from tasks.media.ffmpeg import (
    compile_command,
    error_cause,
    follow_clock,
    open_input,
    read_rows,
    run_ffmpeg,
    run_ffprobe,
)
from tasks.processes.tool import ToolLimits

# Fine enough for any source: by default ffmpeg rounds frames to its guess of the source's rate.
VIDEO_TIME_BASE = "1/90000"

_MAX_AT_ONCE = 5  # frames that may be displayed within a millisecond
_DEFAULT_GAP = 0.04
_UNKNOWN = "N/A"
_PACKET_FIELDS = "pts_time,duration_time,flags"
# Seconds; the coarsest containers round to milliseconds.
CLOCK_SLACK = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameTimes:
    """Sorted presentation times of frames in seconds, and when the last frame ends."""

    times: tuple[float, ...]
    end_time: float

    @property
    def last_gap(self) -> float:
        """Duration of the last frame in seconds."""
        return self.end_time - self.times[-1]


def list_frames(
    path: Path, stream: int, audio_stream: int | None, origin: float, *, limits: ToolLimits
) -> FrameTimes:
    """List the displayed frames from the container's packets; times are relative to ``origin``.

    Frames are decoded if the container does not store their times (AVI with B-frames). If a
    frame is two packets (field-coded video), or the container's clock starts over, these are not
    the frames that ffmpeg decodes: `check_written_frames` notices.

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
        return decode_frames(path, stream, audio_stream, last_gap=0.0, limits=limits)
    gaps = [packet.get("duration_time", _UNKNOWN) for packet in packets]
    return _in_order(((float(time), gap) for time, gap in zip(times, gaps, strict=True)), origin)


def decode_frames(
    path: Path, stream: int, audio_stream: int | None, *, last_gap: float, limits: ToolLimits
) -> FrameTimes:
    """List the frames that actually decode, on the clock on which ffmpeg cuts them.

    ``last_gap`` is the least duration of the last frame in seconds; it lasts at least for the
    median gap.

    Raises:
        ItemFault: no frame decodes, or the clock goes back within the video.
    """
    result = run_ffmpeg(_list_command(path, stream, audio_stream), None, limits)
    times = _times_of(result.output.decode(errors="replace").splitlines())
    if not times:
        cause = error_cause(result, limits)
        details = f" (ffmpeg: {cause})" if cause else ""
        raise ItemFault(f"the video stream has no displayable frame{details}")
    _check_clock(times)
    times.sort()
    end = times[-1] + max(last_gap, _median_gap(times))
    return FrameTimes(times=tuple(times), end_time=end)


def _check_clock(times: Sequence[float]) -> None:
    """Raise if the clock of decoded frames goes back, or ffmpeg held it because it would."""
    num_at_once = 1
    for before, after in pairwise(times):
        num_at_once = num_at_once + 1 if after - before <= CLOCK_SLACK else 1
        if after < before - CLOCK_SLACK or num_at_once > _MAX_AT_ONCE:
            raise ItemFault(
                f"the clock of the video goes back at {before:.2f} s: split the file there if it "
                "is several recordings, or re-encode it"
            )


def are_same_times(times: Sequence[float], others: Sequence[float]) -> bool:
    """Return whether two lists of times agree to the millisecond."""
    return len(times) == len(others) and all(
        abs(a - b) <= CLOCK_SLACK for a, b in zip(times, others, strict=True)
    )


def _list_command(path: Path, stream: int, audio_stream: int | None) -> list[str]:
    """Build the call that decodes a video stream and prints a line per frame."""
    source = open_input(path)
    outputs = [
        ffmpeg.output(
            source[f"v:{stream}"], "-", f="framecrc", vcodec="wrapped_avframe",
            fps_mode="passthrough", enc_time_base=VIDEO_TIME_BASE,
        )
    ]  # fmt: skip
    if audio_stream is not None:
        outputs.append(follow_clock(source[f"a:{audio_stream}"]))
    return compile_command(ffmpeg.merge_outputs(*outputs))


def _times_of(lines: Sequence[str]) -> list[float]:
    """Parse the presentation times in ffmpeg's ``framecrc`` format, in order of output."""
    base, times = Fraction(1), []
    for line in lines:
        if line.startswith("#tb 0:"):
            base = Fraction(line.split(":")[1].strip())
        elif not line.startswith("#"):
            times.append(float(int(line.split(",")[2]) * base))
    return times


def _in_order(timed: Iterable[tuple[float, str]], origin: float) -> FrameTimes:
    """Sort frames by time; a last frame of unknown duration lasts for the median gap."""
    frames = sorted((time - origin, _seconds(gap)) for time, gap in timed)
    if not frames:
        raise ItemFault("the video stream has no displayable frame")
    times = tuple(time for time, _ in frames)
    return FrameTimes(times=times, end_time=times[-1] + (frames[-1][1] or _median_gap(times)))


def _seconds(text: str) -> float:
    return 0.0 if text == _UNKNOWN else float(text)


def _median_gap(times: Sequence[float]) -> float:
    gaps = sorted(b - a for a, b in pairwise(times) if b > a)
    return gaps[len(gaps) // 2] if gaps else _DEFAULT_GAP
