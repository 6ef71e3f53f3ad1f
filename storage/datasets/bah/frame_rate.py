"""Compare annotated frame numbers with annotated times, at a frame rate that nobody states."""

from collections.abc import Iterable
from typing import Any

from storage.records import Interval

_SLOWEST_FPS, _FASTEST_FPS = 5.0, 120.0
_TOLERANCE_FRAMES = 2.0  # a bound may be rounded either way, and may or may not be counted in


def one_rate_fits(pairs: Iterable[tuple[Interval, Any]]) -> bool:
    """Say whether one frame rate lays all given frame numbers onto their times.

    Each pair is an interval and what stands beside it: two frame numbers from 0, or something
    unreadable, which says nothing. A rate fits a bound if it gives the frame to within 2 frames.
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


def _are_frames(written: Any) -> bool:
    if not isinstance(written, list | tuple) or len(written) != 2:
        return False
    return all(type(frame) is int and frame >= 0 for frame in written)
