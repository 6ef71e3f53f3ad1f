"""Streams, frame times and length of a video file, read from its container without decoding."""

import errno
import stat
from dataclasses import dataclass, replace
from pathlib import Path

from storage.errors import ItemFault, TransientFault
from tasks.media.audio.packets import list_packets
from tasks.media.container import Container, Stream, parse_container
from tasks.media.ffmpeg import input_url, run_ffprobe
from tasks.media.joined import check_not_joined
from tasks.media.video.frame_size import FrameSize
from tasks.media.video.frame_times import FrameTimes, list_frames
from tasks.processes.tool import ToolLimits, ToolResult

_HOST_ERRORS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
_ESTIMATED_LENGTH = frozenset(("aac", "ac3", "amr", "dts", "eac3", "mp3"))
# These containers declare no length: ffmpeg subtracts the first timestamp from the last, and
# either may be after a jump of the clock.
_NO_LENGTH = frozenset(("mpeg", "mpegts"))
_PLAYLISTS = frozenset(("concat", "dash", "hls", "imf", "sdp"))


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceMedia:
    """A source video's selected streams and the actual times of its frames.

    ``frame_times`` are sorted seconds on ffmpeg's clock, on which the container starts at 0 (on
    its own clock that is ``origin``); the last frame lasts until ``end_time``. ``video_stream`` and
    ``audio_stream`` are indices within their kind, as in ffmpeg's ``v:0`` and ``a:0``. ``width``
    and ``height`` are those of the displayed frame, after rotation; ``pixel_aspect`` is the width
    of its pixels relative to their height, ``is_turned`` whether the rotation swaps the two.
    ``declared_seconds`` is the length of the video according to the container.

    Without video (``video_stream`` is ``None``) there are no frames and the size is 0: the source
    starts with its container's clock and ends with its audio of ``num_packets`` packets, and
    ``declared_seconds`` is the length of the audio.
    """

    path: Path
    video_stream: int | None
    audio_stream: int | None
    width: int
    height: int
    declared_seconds: float
    origin: float
    frame_times: tuple[float, ...]
    end_time: float
    num_packets: int = 0
    pixel_aspect: float = 1.0
    is_turned: bool = False

    @property
    def start_time(self) -> float:
        """Time of the first frame; without video, the start of the container's clock."""
        return self.frame_times[0] if self.frame_times else 0.0

    @property
    def duration_seconds(self) -> float:
        """Time from the first frame's start to the end of the last frame, or of the audio."""
        return self.end_time - self.start_time

    @property
    def frame_size(self) -> FrameSize:
        """Size of the displayed frames, after rotation."""
        return FrameSize(width=self.width, height=self.height, pixel_aspect=self.pixel_aspect)

    def with_frame_size(self, size: FrameSize) -> "SourceMedia":
        """Replace the size that the container states."""
        return replace(self, width=size.width, height=size.height, pixel_aspect=size.pixel_aspect)

    def with_frame_times(self, frames: FrameTimes) -> "SourceMedia":
        """Replace the frames that the container lists."""
        return replace(self, frame_times=frames.times, end_time=frames.end_time)


def probe(path: Path, *, limits: ToolLimits) -> SourceMedia:
    """Open a video file and list its frame times.

    Selects the video stream with the most pixels (ignoring cover art), and the default audio
    stream, else the first. A file with audio only has no video stream.

    Raises:
        ItemFault: ffmpeg cannot open the file, or it has neither video nor audio.
        ToolError: ffprobe is not installed.
    """
    _check_file(path)
    container, cause = _read_container(path, limits)
    videos = container.streams_of("video")
    video = _choose_video(videos, cause)
    if video is None:
        return _audio_only(path, container, limits)
    origin = container.format.start_time or 0.0
    audio = _choose_audio(container.streams_of("audio"))
    frames = list_frames(path, video, audio, origin, limits=limits)
    width, height = videos[video].displayed_size
    return SourceMedia(
        path=path,
        video_stream=video,
        audio_stream=audio,
        width=width,
        height=height,
        pixel_aspect=videos[video].displayed_pixel_aspect,
        is_turned=videos[video].is_turned,
        declared_seconds=_declared_seconds(videos[video], container, frames),
        origin=origin,
        frame_times=frames.times,
        end_time=frames.end_time,
    )


def _audio_only(path: Path, container: Container, limits: ToolLimits) -> SourceMedia:
    """Describe a file without video; it is as long as its audio."""
    audios, origin = container.streams_of("audio"), container.format.start_time or 0.0
    audio = _choose_audio(audios)
    if audio is None:
        raise ItemFault("the file has neither a video nor an audio stream")
    packets = list_packets(path, audio, origin, limits=limits)
    return SourceMedia(
        path=path,
        video_stream=None,
        audio_stream=audio,
        width=0,
        height=0,
        declared_seconds=_declared_audio_seconds(audios[audio], container) or packets.end_time,
        origin=origin,
        frame_times=(),
        end_time=packets.end_time,
        num_packets=packets.count,
    )


def _declared_audio_seconds(audio: Stream, container: Container) -> float | None:
    """Return the declared length of audio, or ``None`` if ffmpeg estimates it from the bit rate."""
    return None if container.format.names & _ESTIMATED_LENGTH else audio.own_seconds


def probe_seconds(path: Path, *, limits: ToolLimits) -> float:
    """Read the declared length of a video, or measure it from its frames.

    A declared length costs half the time of `probe`.

    Raises:
        ItemFault: ffmpeg cannot open the file, or it has neither video nor audio.
        ToolError: ffprobe is not installed.
    """
    _check_file(path)
    container, cause = _read_container(path, limits)
    videos, audios = container.streams_of("video"), container.streams_of("audio")
    video, audio = _choose_video(videos, cause), _choose_audio(audios)
    if video is not None:
        is_estimated = container.format.names & _NO_LENGTH
        declared = None if is_estimated else videos[video].own_seconds
    else:
        declared = None if audio is None else _declared_audio_seconds(audios[audio], container)
    return declared or probe(path, limits=limits).duration_seconds


def _check_file(path: Path) -> None:
    """Raise if a file is empty, unreadable, or a pipe or device."""
    try:
        mode = path.stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise ItemFault("not a regular file but a pipe or device, which may never end")
        with path.open("rb") as stream:
            if not stream.read(1):
                raise ItemFault("the file is empty (0 bytes)")
    except OSError as error:
        if error.errno in _HOST_ERRORS:
            raise
        raise TransientFault(f"the file cannot be read ({error.strerror})") from error


def _read_container(path: Path, limits: ToolLimits) -> tuple[Container, str]:
    """Read the properties of the container and its streams, and ffprobe's last error messages."""
    result = run_ffprobe(path, "-show_format", "-show_streams", "-of", "json", limits=limits)
    container = parse_container(result.output)
    names = container.format.names
    if result.status != 0 or not container.streams or not names:
        raise ItemFault(f"not a video that ffmpeg can open: {_last_messages(result, path)}")
    if names & _PLAYLISTS:
        raise ItemFault("not a video but a playlist of other files")
    if any(name.endswith(("_pipe", "image2")) for name in names):
        raise ItemFault("not a video but a still image")
    check_not_joined(path, names)
    return container, _last_messages(result, path)


def _declared_seconds(video: Stream, container: Container, frames: FrameTimes) -> float:
    """Return the video stream's own length; the container's may be another stream's."""
    if "avi" in container.format.names and video.nb_frames and video.r_frame_rate:
        # ffmpeg measures a truncated AVI by the remaining data; its header keeps the frame count.
        return video.nb_frames / video.r_frame_rate
    found = frames.end_time - frames.times[0]
    if container.format.names & _NO_LENGTH:
        return found
    if video.own_seconds is not None:
        return video.own_seconds
    return (container.format.duration or found) if len(container.streams) == 1 else found


def _last_messages(result: ToolResult, path: Path) -> str:
    if not result.stderr_tail:
        return "no video or audio stream found"
    lines = [line.removeprefix(f"{input_url(path)}: ") for line in result.stderr_tail]
    messages = [line.split("] ")[-1] for line in lines]
    return "; ".join(dict.fromkeys(messages[-2:]))


def _choose_video(videos: list[Stream], cause: str) -> int | None:
    candidates = [
        (stream.num_pixels, -index)
        for index, stream in enumerate(videos)
        if not stream.is_cover_art
    ]
    if not candidates:
        return None
    if max(candidates)[0] == 0:
        raise ItemFault(f"the frame size cannot be read ({cause})")
    return -max(candidates)[1]


def _choose_audio(audios: list[Stream]) -> int | None:
    if not audios:
        return None
    defaults = [index for index, stream in enumerate(audios) if stream.is_default]
    return defaults[0] if defaults else 0
