"""Compare annotated frame numbers with annotated times; a release does not state frame rates."""

from collections.abc import Iterable
from typing import Any

from storage.records import Interval

_SLOWEST_FPS, _FASTEST_FPS = 5.0, 120.0
_TOLERANCE_FRAMES = 2.0  # bounds may be rounded either way, and inclusive or not


def one_rate_fits(pairs: Iterable[tuple[Interval, Any]]) -> bool:
    """Return whether a single frame rate maps all times to their frame numbers.

    Each pair is an interval and its two frame numbers, from 0; unreadable ones are skipped. A rate
    fits a bound if it predicts its frame number to within 2 frames.
    """
    low, high = _SLOWEST_FPS, _FASTEST_FPS
    for interval, frames in pairs:
        if not _are_frames(frames):
            continue
        for time_ms, frame in zip((interval.start_ms, interval.end_ms), frames, strict=True):
            if time_ms == 0:
                if frame > _TOLERANCE_FRAMES:
                    return False
                continue
            low = max(low, (frame - _TOLERANCE_FRAMES) * 1000 / time_ms)
            high = min(high, (frame + _TOLERANCE_FRAMES) * 1000 / time_ms)
    return low <= high


def _are_frames(frames: Any) -> bool:
    if not isinstance(frames, list | tuple) or len(frames) != 2:
        return False
    return all(type(frame) is int and frame >= 0 for frame in frames)
