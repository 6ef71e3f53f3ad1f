"""What a video file holds, read from its container without decoding."""

import errno
import json
import stat
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from storage.errors import ItemFault
from tasks.media.frame_times import Frames, input_url, list_frames, run_ffprobe
from tasks.media.packets import list_packets
from tasks.processes.tool import ToolLimits, ToolResult

_MACHINE_TROUBLE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
_GUESSED = ("aac", "ac3", "amr", "dts", "eac3", "mp3")
_LISTS = ("concat", "dash", "hls", "imf", "sdp")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceMedia:
    """A source video's chosen streams and the true times of its frames.

    ``frame_times`` are seconds on ffmpeg's clock (the container's start, in seconds on its own
    clock ``origin``, is 0), sorted, one for each frame; the last frame lasts until ``end_time``.
    ``video_stream`` and ``audio_stream`` count within their kind (0 = the first picture stream),
    as ffmpeg's ``v:0`` and ``a:0`` do. ``width`` and ``height`` are of the picture as it is shown,
    turned upright. ``stated_seconds`` is how long the picture lasts by the container's word.

    Without a picture (``video_stream`` is ``None``) there are no frames and no size: the source
    begins with its container's clock, ends with its sound, which has ``num_packets``, and
    ``stated_seconds`` is the sound's.
    """

    path: Path
    video_stream: int | None
    audio_stream: int | None
    width: int
    height: int
    stated_seconds: float
    origin: float
    frame_times: tuple[float, ...]
    end_time: float
    num_packets: int = 0

    @property
    def start_time(self) -> float:
        """When the first frame is shown, or where none is, when the container's clock starts."""
        return self.frame_times[0] if self.frame_times else 0.0

    @property
    def duration_seconds(self) -> float:
        """From the first frame's start to the last frame's end, or the sound's."""
        return self.end_time - self.start_time

    def with_frames(self, frames: Frames) -> "SourceMedia":
        """The same source with these frames in place of those its container lists."""
        return replace(self, frame_times=frames.times, end_time=frames.end_time)


def probe(path: Path, *, limits: ToolLimits) -> SourceMedia:
    """Open a video file and list its frames' times.

    The picture stream with most pixels is chosen (cover art left aside), and the container's
    default sound stream, else its first. A file of sound alone has no picture stream.

    Raises:
        ItemFault: not a video that ffmpeg can open, or one with neither picture nor sound.
        ToolError: ffprobe is not installed.
    """
    _check_file(path)
    facts, cause = _read_container(path, limits)
    videos, audios = _streams_of(facts)
    video = _choose_video(videos, cause)
    container = facts["format"]
    origin = float(container.get("start_time") or 0.0)
    if video is None:
        return _audio_alone(path, audios, container, origin, limits)
    frames = list_frames(path, video, origin, limits=limits)
    width, height = _shown_size(videos[video])
    return SourceMedia(
        path=path,
        video_stream=video,
        audio_stream=_choose_audio(audios),
        width=width,
        height=height,
        stated_seconds=_stated_seconds(videos[video], container, len(facts["streams"]), frames),
        origin=origin,
        frame_times=frames.times,
        end_time=frames.end_time,
    )


def _streams_of(facts: dict[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Give the picture streams and the sound streams."""
    streams = facts["streams"]
    videos = [s for s in streams if s["codec_type"] == "video"]
    return videos, [s for s in streams if s["codec_type"] == "audio"]


def _audio_alone(
    path: Path,
    audios: list[dict[str, Any]],
    container: dict[str, Any],
    origin: float,
    limits: ToolLimits,
) -> SourceMedia:
    """Describe a file without picture, as long as its sound."""
    audio = _choose_audio(audios)
    if audio is None:
        raise ItemFault("the file has neither a picture nor a sound stream")
    packets = list_packets(path, audio, origin, limits=limits)
    return SourceMedia(
        path=path,
        video_stream=None,
        audio_stream=audio,
        width=0,
        height=0,
        stated_seconds=_stated_by_audio(audios[audio], container) or packets.end_time,
        origin=origin,
        frame_times=(),
        end_time=packets.end_time,
        num_packets=packets.count,
    )


def _stated_by_audio(audio: dict[str, Any], container: dict[str, Any]) -> float | None:
    """Give a sound's length by its container, but where that is ffmpeg's guess by the bit rate."""
    return None if container["format_name"] in _GUESSED else _own_seconds(audio)


def probe_seconds(path: Path, *, limits: ToolLimits) -> float:
    """Read how long a video lasts by its container's word, or by its frames where that is silent.

    Where the container says it, this costs half of what `probe` does.

    Raises:
        ItemFault: not a video that ffmpeg can open, or one with neither picture nor sound.
        ToolError: ffprobe is not installed.
    """
    _check_file(path)
    facts, cause = _read_container(path, limits)
    videos, audios = _streams_of(facts)
    video, audio = _choose_video(videos, cause), _choose_audio(audios)
    if video is not None:
        stated = _own_seconds(videos[video])
    else:
        stated = None if audio is None else _stated_by_audio(audios[audio], facts["format"])
    return probe(path, limits=limits).duration_seconds if stated is None else stated


def _check_file(path: Path) -> None:
    """Refuse what is empty, cannot be read, or never ends; no other file is opened."""
    try:
        mode = path.stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise ItemFault("not a file but a pipe or a device, which may never end")
        with path.open("rb") as stream:
            if not stream.read(1):
                raise ItemFault("the file is empty (0 bytes)")
    except OSError as error:
        if error.errno in _MACHINE_TROUBLE:
            raise
        raise ItemFault(f"the file cannot be read ({error.strerror})") from error


def _read_container(path: Path, limits: ToolLimits) -> tuple[dict[str, Any], str]:
    """Read what the container says of itself and its streams, and what ffprobe complained of."""
    shown = ("-show_format", "-show_streams", "-of", "json")
    result = run_ffprobe(path, *shown, limits=limits)
    facts: dict[str, Any] = json.loads(result.output or b"{}")
    if result.status != 0 or not facts.get("streams"):
        raise ItemFault(f"not a video that ffmpeg can open: {_last_causes(result, path)}")
    if set(facts["format"]["format_name"].split(",")) & set(_LISTS):
        raise ItemFault("not a video but a list that names other files")
    if facts["format"]["format_name"].endswith(("_pipe", "image2")):
        raise ItemFault("not a video but a single picture")
    return facts, _last_causes(result, path)


def _shown_size(video: dict[str, Any]) -> tuple[int, int]:
    """Give width and height after the turn that the container asks for."""
    turns = [side.get("rotation", 0) for side in video.get("side_data_list", [])]
    width, height = int(video["width"]), int(video["height"])
    return (height, width) if any(round(turn / 90) % 2 for turn in turns) else (width, height)


def _stated_seconds(
    video: dict[str, Any], container: dict[str, Any], num_streams: int, frames: Frames
) -> float:
    """Take the picture stream's own length; the container's may be another stream's."""
    if container["format_name"] == "avi" and int(video.get("nb_frames", 0)):
        # ffmpeg measures a cut AVI's duration by what is left; the count in its header stays.
        return float(int(video["nb_frames"]) / Fraction(video["r_frame_rate"]))
    own = _own_seconds(video)
    if own is not None:
        return own
    found = frames.end_time - frames.times[0]
    return float(container.get("duration") or found) if num_streams == 1 else found


def _own_seconds(video: dict[str, Any]) -> float | None:
    if "duration" in video:
        return float(video["duration"])
    tagged = video.get("tags", {}).get("DURATION")  # Matroska writes 00:00:12.345000000
    if not tagged:
        return None
    hours, minutes, seconds = tagged.split(":")
    stated_end = int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    return stated_end - float(video.get("start_time", 0))


def _last_causes(result: ToolResult, path: Path) -> str:
    if not result.stderr_tail:
        return "no picture or sound stream found"
    causes = [line.removeprefix(f"{input_url(path)}: ") for line in result.stderr_tail]
    named = [cause.split("] ")[-1] for cause in causes]
    return "; ".join(dict.fromkeys(named[-2:]))


def _choose_video(videos: list[dict[str, Any]], cause: str) -> int | None:
    candidates = [
        (int(stream.get("width") or 0) * int(stream.get("height") or 0), -index)
        for index, stream in enumerate(videos)
        if not stream.get("disposition", {}).get("attached_pic")
    ]
    if not candidates:
        return None
    if max(candidates)[0] == 0:
        raise ItemFault(f"the size of its picture cannot be read ({cause})")
    return -max(candidates)[1]


def _choose_audio(audios: list[dict[str, Any]]) -> int | None:
    if not audios:
        return None
    defaults = [i for i, s in enumerate(audios) if s.get("disposition", {}).get("default")]
    return defaults[0] if defaults else 0
