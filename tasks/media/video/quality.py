"""How much of a video is black or frozen, measured on small luma frames at a constant rate.

A frame is black if it is dark and uniform: a dark scene, a letterboxed one or a clock on a black
background have contrast. A stretch is frozen if no frame differs from its first for some seconds.
Lossy coding makes a still image differ a little everywhere, again and again, while the least motion
of a person (a blink) changes few pixels a lot: that separates them, not the mean difference that
ffmpeg's ``freezedetect`` measures.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from storage.media_records import VideoQuality

Luma = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]

LUMA_RATE = 4  # frames per second
LUMA_SIZE = (64, 48)

# Of 256 levels.
_DARK = 32
_UNIFORM = 8
_OUTLIERS = 0.005  # of the pixels
_SAME = 3  # a greatest difference up to this is never motion
_MOTION = 20  # and beyond this always
_NOISE_PEAK = 12  # of the mean difference: the peak of coding noise
_FROZEN_SECONDS = 3.0  # people blink every three to four seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameFlags:
    """Which of the frames at `LUMA_RATE` are black, and which belong to a frozen stretch."""

    black: Flags
    frozen: Flags

    def quality(self, start_ms: int, end_ms: int) -> VideoQuality:
        """Return the fractions of a stretch that starts after 0 and is not empty.

        The last frame counts up to the end of the video.
        """
        return VideoQuality(
            black_fraction=_fraction(self.black, start_ms, end_ms),
            frozen_fraction=_fraction(self.frozen, start_ms, end_ms),
        )


def find_flags(luma: Luma, duration_ms: int) -> FrameFlags:
    """Measure small luma frames [frames, height, width]; the last is shown until the end."""
    num_expected = max(1, len(luma), -(-duration_ms * LUMA_RATE // 1000))
    black, frozen = np.zeros((2, num_expected), np.bool_)
    black[: len(luma)] = [_is_black(frame) for frame in luma]
    black[len(luma) :] = black[len(luma) - 1]
    for start, end in pairwise([*_starts_of_stretches(luma), num_expected]):
        frozen[start:end] = end - start >= _FROZEN_SECONDS * LUMA_RATE
    return FrameFlags(black=black, frozen=frozen)


def _is_black(frame: Luma) -> bool:
    levels = np.sort(frame, axis=None)
    outliers = int(_OUTLIERS * len(levels))
    low, high = int(levels[outliers]), int(levels[-1 - outliers])
    return high <= _DARK and high - low <= _UNIFORM


def _starts_of_stretches(luma: Luma) -> list[int]:
    """Split frames into stretches in which none differs from the first; returns their starts."""
    starts = [0] if len(luma) else []
    for number in range(1, len(luma)):
        if _differ(luma[starts[-1]], luma[number]):
            starts.append(number)
    return starts


def _differ(first: Luma, second: Luma) -> bool:
    """Return whether something moved between two frames, rather than coding noise."""
    differences = np.abs(first.astype(np.int16) - second)
    peak_of_noise = min(_SAME + _NOISE_PEAK * float(differences.mean()), _MOTION)
    return bool(differences.max() > peak_of_noise)


def _fraction(flags: Flags, start_ms: int, end_ms: int) -> float:
    """Return the fraction of a stretch in which frames are flagged, in [0, 1]."""
    starts = np.arange(len(flags)) * 1000 / LUMA_RATE
    ends = np.append(starts[1:], max(end_ms, starts[-1]))
    overlaps = np.clip(np.minimum(ends, end_ms) - np.maximum(starts, start_ms), 0, None)
    return float(min(1.0, overlaps @ flags / (end_ms - start_ms)))
