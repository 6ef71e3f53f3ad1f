"""What ffprobe reports about a container and its streams, as a model that tolerates any value.

Files in the field have streams without a type, tags that other programs wrote, and lengths that
cannot be. Every field is optional: a value that is missing, malformed or impossible is ``None``.
"""

import math
import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from storage.errors import ItemFault

_LONGEST_SECONDS = 1e7  # 115 days; a greater length is a misread field
_LATEST_SECONDS = 1e11  # wall-clock timestamps are 1.7e9 s, in milliseconds a thousand times that
_LARGEST_SIDE = 1 << 16
_RATE_PARTS = re.compile(r"(\d{1,12})(?:/(\d{1,12}))?")
_ASPECT_PARTS = re.compile(r"(\d{1,9}):(\d{1,9})")
_LENGTH_PARTS = re.compile(r"(?:(?:(\d{1,6}):)?(\d{1,2}):)?(\d{1,9}(?:[.,]\d{0,12})?)")


def _none_if_invalid(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    try:
        return None if isinstance(value, bool) else validate(value)
    except (ValidationError, ValueError, ArithmeticError):
        return None


def _within(low: float, high: float) -> Callable[[float], float]:
    def check(value: float) -> float:
        if not (math.isfinite(value) and low <= value <= high):
            raise ValueError(f"{value} is not in [{low}, {high}]")
        return value

    return check


def _rate(value: Any) -> float:
    """Parse frames per second, such as ``30000/1001``; ffprobe writes 0/0 for an unknown rate."""
    found = _RATE_PARTS.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("not a rate")
    return int(found[1]) / int(found[2] or 1)


def _aspect(value: Any) -> float:
    """Parse the width of a pixel relative to its height, such as ``16:11``."""
    found = _ASPECT_PARTS.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("not an aspect ratio")
    return int(found[1]) / int(found[2])


def _length(value: Any) -> float:
    """Parse a length such as ``00:00:12.345000000``, ``00:12.345`` or ``12,345``."""
    found = _LENGTH_PARTS.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise ValueError("not a length")
    hours, minutes, seconds = found[1] or "0", found[2] or "0", found[3].replace(",", ".")
    if found[2] is not None and (float(seconds) >= 60 or int(minutes) >= 60):
        raise ValueError("not a time of day")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def _upper_names(value: Any) -> Any:
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return {str(name).upper(): tag for name, tag in value.items()}


def _objects(value: Any) -> Any:
    """Replace elements that are not objects, so that the others keep their index."""
    if not isinstance(value, list):
        raise ValueError("not a list")
    return [element if isinstance(element, dict) else {} for element in value]


_Tolerant = WrapValidator(_none_if_invalid)
_Text = Annotated[str | None, _Tolerant]
_Count = Annotated[Annotated[int, Field(ge=0, le=1 << 40)] | None, _Tolerant]
_Side = Annotated[Annotated[int, Field(gt=0, le=_LARGEST_SIDE)] | None, _Tolerant]
_Time = Annotated[
    Annotated[float, AfterValidator(_within(-_LATEST_SECONDS, _LATEST_SECONDS))] | None, _Tolerant
]
_Length = Annotated[float, AfterValidator(_within(0, _LONGEST_SECONDS))]
_Seconds = Annotated[_Length | None, _Tolerant]
_TaggedSeconds = Annotated[Annotated[_Length, BeforeValidator(_length)] | None, _Tolerant]
_Rate = Annotated[
    Annotated[float, BeforeValidator(_rate), AfterValidator(_within(1e-6, 1e6))] | None, _Tolerant
]
_Aspect = Annotated[
    Annotated[float, BeforeValidator(_aspect), AfterValidator(_within(1e-2, 1e2))] | None, _Tolerant
]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Tags(_Model):
    """Tags of a stream, whose names may be in any case."""

    duration: _TaggedSeconds = Field(default=None, alias="DURATION")


class Disposition(_Model):
    """What a stream is for."""

    default: _Count = None
    attached_pic: _Count = None


class SideData(_Model):
    """Additional data of a stream; ``rotation`` is in degrees."""

    rotation: Annotated[Annotated[float, AfterValidator(_within(-360, 360))] | None, _Tolerant] = (
        None
    )


_Tags = Annotated[Annotated[Tags, BeforeValidator(_upper_names)] | None, _Tolerant]
_AllSideData = Annotated[
    Annotated[tuple[SideData, ...], BeforeValidator(_objects)] | None, _Tolerant
]


class Stream(_Model):
    """One stream of a container; times are in seconds, rates in frames per second."""

    codec_type: _Text = None
    codec_name: _Text = None
    width: _Side = None
    height: _Side = None
    sample_aspect_ratio: _Aspect = None
    r_frame_rate: _Rate = None
    nb_frames: _Count = None
    start_time: _Time = None
    duration: _Seconds = None
    disposition: Annotated[Disposition | None, _Tolerant] = None
    tags: _Tags = None
    side_data_list: _AllSideData = None

    @property
    def num_pixels(self) -> int:
        """Pixels of a frame; 0 if the size is unknown."""
        return (self.width or 0) * (self.height or 0)

    @property
    def is_turned(self) -> bool:
        """Whether the container's rotation swaps width and height."""
        rotations = [side.rotation or 0 for side in self.side_data_list or ()]
        return any(round(rotation / 90) % 2 for rotation in rotations)

    @property
    def displayed_size(self) -> tuple[int, int]:
        """Width and height after the container's rotation; 0 if unknown."""
        width, height = self.width or 0, self.height or 0
        return (height, width) if self.is_turned else (width, height)

    @property
    def displayed_pixel_aspect(self) -> float:
        """Width of a displayed pixel relative to its height; 1 if unknown."""
        aspect = self.sample_aspect_ratio or 1.0
        return 1 / aspect if self.is_turned else aspect

    @property
    def is_default(self) -> bool:
        """Whether players select the stream by default."""
        return bool(self.disposition and self.disposition.default)

    @property
    def is_cover_art(self) -> bool:
        """Whether the stream is an attached image."""
        return bool(self.disposition and self.disposition.attached_pic)

    @property
    def own_seconds(self) -> float | None:
        """The length that the container declares for this stream.

        Matroska has no such field: its tag DURATION is when the stream ends.
        """
        if self.duration is not None or self.tags is None or self.tags.duration is None:
            return self.duration
        seconds = self.tags.duration - (self.start_time or 0.0)
        return seconds if 0 <= seconds <= _LONGEST_SECONDS else None


class Format(_Model):
    """Properties of the container."""

    format_name: _Text = None
    start_time: _Time = None
    duration: _Seconds = None

    @property
    def names(self) -> frozenset[str]:
        """The names of the format, such as ``mov`` and ``mp4``; empty if unknown."""
        return frozenset((self.format_name or "").split(",")) - {""}


_Streams = Annotated[Annotated[tuple[Stream, ...], BeforeValidator(_objects)] | None, _Tolerant]


class _Report(_Model):
    format: Annotated[Format | None, _Tolerant] = None
    streams: _Streams = None


class Container(_Model):
    """A container and its streams."""

    format: Format
    streams: tuple[Stream, ...]

    def streams_of(self, kind: str) -> list[Stream]:
        """Return the streams of a type, numbered as in ffmpeg's ``v:0`` and ``a:0``."""
        return [stream for stream in self.streams if stream.codec_type == kind]


def parse_container(output: bytes) -> Container:
    """Parse the JSON that ffprobe writes for ``-show_format -show_streams``; empty if none.

    Raises:
        ItemFault: the output is not JSON.
    """
    try:
        report = _Report.model_validate_json(output.decode(errors="replace") or "{}")
    except ValidationError as error:
        raise ItemFault(
            "ffprobe's description of the file cannot be parsed: remux it, for example with "
            "`ffmpeg -i FILE -c copy OUT.mkv`"
        ) from error
    return Container(format=report.format or Format(), streams=report.streams or ())
