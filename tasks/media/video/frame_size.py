"""The size of a video's segments: one for all frames, also if the source's frames change size."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

# Logged at level verbose each time ffmpeg configures its filters for frames of another kind.
_INPUT_OF_GRAPH = re.compile(
    r"\[graph \d+ input from stream \d+:\d+ .*w:(\d+) h:(\d+) pixfmt:\S+ .*sar:(\d+)/(\d+)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameSize:
    """Width and height in pixels, and the width of a pixel relative to its height."""

    width: int
    height: int
    pixel_aspect: float = 1.0

    @property
    def num_pixels(self) -> float:
        """Area in pixels as high as the frame's."""
        return self.width * self.pixel_aspect * self.height

    def turned(self) -> "FrameSize":
        """Return the size after a quarter turn."""
        return FrameSize(width=self.height, height=self.width, pixel_aspect=1 / self.pixel_aspect)

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


def output_size(source: FrameSize, long_side: int) -> tuple[int, int]:
    """Return even width and height of square pixels, scaled down to ``long_side`` if larger."""
    width, height = source.width * source.pixel_aspect, float(source.height)
    scale = min(1.0, long_side / max(width, height))
    return _even(width * scale), _even(height * scale)


def _even(length: float) -> int:
    return max(2, 2 * int(length / 2 + 0.5))


def sizes_in_log(lines: Sequence[str], *, is_turned: bool) -> tuple[FrameSize, ...]:
    """Return the sizes of the source's frames after rotation, in order, from ffmpeg's log."""
    found = [match.groups() for line in lines if (match := _INPUT_OF_GRAPH.search(line))]
    sizes = []
    for width, height, across, up in found:
        aspect = int(across) / int(up) if int(across) and int(up) else 1.0
        size = FrameSize(width=int(width), height=int(height), pixel_aspect=aspect)
        sizes.append(size.turned() if is_turned else size)
    return tuple(dict.fromkeys(sizes))
