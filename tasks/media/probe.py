"""What a video file holds, read from its container without decoding."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage.errors import ItemFault
from tasks.child import ChildResult, run_tool

_PROBE_SECONDS = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceMedia:
    """A source video's chosen streams and the true times of its frames.

    ``frame_times`` are seconds on ffmpeg's clock (the container's start is 0), sorted, one for each
    frame; the last frame lasts until ``end_time``. ``picture_stream`` and ``sound_stream`` count
    within their kind (0 = the first picture stream), as ffmpeg's ``v:0`` and ``a:0`` do.
    ``stated_seconds`` is how long the picture lasts by the container's word.
    """

    path: Path
    picture_stream: int
    sound_stream: int | None
    width: int
    height: int
    stated_seconds: float
    frame_times: tuple[float, ...]
    end_time: float

    @property
    def start_time(self) -> float:
        """When the first frame is shown."""
        return self.frame_times[0]

    @property
    def duration_seconds(self) -> float:
        """From the first frame's start to the last frame's end."""
        return self.end_time - self.start_time


def input_url(path: Path) -> str:
    """Name a local file so that ffmpeg takes no part of it for an option or a protocol."""
    return f"file:{path.resolve()}"


def _ffprobe(path: Path, *arguments: str) -> ChildResult:
    command = ["ffprobe", "-v", "error", *arguments, input_url(path)]
    result = run_tool(command, timeout_seconds=_PROBE_SECONDS)
    if result.timed_out:
        raise ItemFault(f"probing did not end within {_PROBE_SECONDS:.0f} s")
    return result


def probe(path: Path) -> SourceMedia:
    """Open a video file and list its frames' times.

    The picture stream with most pixels is chosen (cover art left aside), and the container's
    default sound stream, else its first.

    Raises:
        ItemFault: not a video that ffmpeg can open, or one without picture.
        ToolError: ffprobe is not installed.
    """
    if not path.exists():
        raise ItemFault("the file is gone")
    if path.stat().st_size == 0:
        raise ItemFault("the file is empty (0 bytes)")
    result = _ffprobe(path, "-show_format", "-show_streams", "-of", "json")
    facts = json.loads(result.output or b"{}")
    if result.status != 0 or not facts.get("streams"):
        raise ItemFault(f"not a video that ffmpeg can open: {_last_cause(result, path)}")
    pictures = [s for s in facts["streams"] if s["codec_type"] == "video"]
    sounds = [s for s in facts["streams"] if s["codec_type"] == "audio"]
    picture = _choose_picture(pictures)
    container = facts["format"]
    times, end = _frame_times(path, picture, float(container.get("start_time") or 0.0))
    return SourceMedia(
        path=path,
        picture_stream=picture,
        sound_stream=_choose_sound(sounds),
        width=int(pictures[picture]["width"]),
        height=int(pictures[picture]["height"]),
        stated_seconds=_stated_seconds(pictures[picture], container, len(facts["streams"]), end),
        frame_times=times,
        end_time=end,
    )


def _stated_seconds(
    picture: dict[str, Any], container: dict[str, Any], num_streams: int, end: float
) -> float:
    """Take the picture stream's own length; the container's may be another stream's."""
    if "duration" in picture:
        return float(picture["duration"])
    tagged = picture.get("tags", {}).get("DURATION")  # Matroska writes 00:00:12.345000000
    if tagged:
        hours, minutes, seconds = tagged.split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    return float(container.get("duration") or end) if num_streams == 1 else end


def _last_cause(result: ChildResult, path: Path) -> str:
    if not result.stderr_tail:
        return "no picture or sound stream found"
    causes = [line.removeprefix(f"{input_url(path)}: ") for line in result.stderr_tail]
    named = [cause.split("] ")[-1] for cause in causes]
    return "; ".join(dict.fromkeys(named[-2:]))


def _choose_picture(pictures: list[dict[str, Any]]) -> int:
    candidates = [
        (int(stream.get("width") or 0) * int(stream.get("height") or 0), -index)
        for index, stream in enumerate(pictures)
        if not stream.get("disposition", {}).get("attached_pic")
    ]
    if not candidates or max(candidates)[0] == 0:
        raise ItemFault("the file has no picture stream, only sound")
    return -max(candidates)[1]


def _choose_sound(sounds: list[dict[str, Any]]) -> int | None:
    if not sounds:
        return None
    defaults = [i for i, s in enumerate(sounds) if s.get("disposition", {}).get("default")]
    return defaults[0] if defaults else 0


def _frame_times(path: Path, stream: int, origin: float) -> tuple[tuple[float, ...], float]:
    """List the shown frames' times in seconds after ``origin``, and when the last one ends."""
    result = _ffprobe(
        path,
        "-select_streams", f"v:{stream}",
        "-show_entries", "packet=pts_time,duration_time,flags",
        "-of", "csv=p=0",
    )  # fmt: skip
    rows = [line.split(",") for line in result.output.decode().split() if line]
    shown = [
        (float(row[0]) - origin, _seconds(row[1]))
        for row in rows
        if len(row) >= 3 and row[0] != "N/A" and "D" not in row[2]
    ]
    if not shown:
        raise ItemFault("the picture stream holds no frame with a time")
    shown.sort()
    times = tuple(time for time, _ in shown)
    last = shown[-1][1] or _median_gap(times)
    return times, times[-1] + last


def _seconds(text: str) -> float:
    return 0.0 if text == "N/A" else float(text)


def _median_gap(times: tuple[float, ...]) -> float:
    gaps = sorted(b - a for a, b in zip(times, times[1:], strict=False))
    gap = gaps[len(gaps) // 2] if gaps else 0.04
    return gap if math.isfinite(gap) and gap > 0 else 0.04
