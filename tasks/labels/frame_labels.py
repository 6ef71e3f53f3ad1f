"""Conversion between annotated times, segments and single frames.

A frame is displayed from its own time until the next frame's, the last one until the video's end.
"""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from storage.datasets.intervals import tidy_intervals
from storage.media_records import FrameTimesRecord
from storage.records import Interval

Value = TypeVar("Value")
_Times = NDArray[np.int64]


def labels_of_frames(
    intervals: Sequence[Interval], times: FrameTimesRecord, unknown: Sequence[Interval] = ()
) -> tuple[int | None, ...]:
    """Label a frame 1 if intervals cover at least half of its display time.

    A bound therefore moves by at most half a frame when times become frames. A frame has no label
    if that depends on ``unknown`` time, which may show A/H.
    """
    start_ms, end_ms = _display_spans(times)
    least, most = (
        2 * (_covered_until(end_ms, found) - _covered_until(start_ms, found)) >= end_ms - start_ms
        for found in (intervals, (*intervals, *unknown))
    )
    return tuple(
        int(positive) if positive == possible else None
        for positive, possible in zip(least.tolist(), most.tolist(), strict=True)
    )


def values_of_frames(
    values: Sequence[tuple[int, Value]], times: FrameTimesRecord
) -> tuple[Value | None, ...]:
    """Assign every frame the value of its segment; ``None`` before the first segment.

    ``values`` are pairs of a segment's ``start_ms`` and its value, in any order; a segment extends
    to the start of the next one.
    """
    ordered = sorted(values, key=lambda pair: pair[0])
    starts_ms = [start_ms for start_ms, _ in ordered]
    indices = np.searchsorted(starts_ms, times.frame_ms, side="right") - 1
    return tuple(ordered[index][1] if index >= 0 else None for index in indices)


def _display_spans(times: FrameTimesRecord) -> tuple[_Times, _Times]:
    """Return when each frame's display starts and ends, at least a millisecond apart."""
    start_ms = np.array(times.frame_ms, dtype=np.int64)
    return start_ms, np.maximum(np.append(start_ms[1:], times.end_ms), start_ms + 1)


def _covered_until(moments_ms: _Times, intervals: Sequence[Interval]) -> _Times:
    """Count the covered milliseconds before each moment, by linear interpolation."""
    joined, _ = tidy_intervals(intervals)
    bounds = [bound for i in joined for bound in (i.start_ms, i.end_ms)]
    lengths = [length for i in joined for length in (0, i.end_ms - i.start_ms)]
    if not joined:
        return np.zeros_like(moments_ms)
    return np.rint(np.interp(moments_ms, bounds, np.cumsum(lengths))).astype(np.int64)
