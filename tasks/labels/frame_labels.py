"""Between annotated times, segments and single frames: who asks by frame is answered by frame.

A frame is shown from its own time until the next frame's, the last one until the video's end.
"""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from storage.datasets.intervals import tidy_intervals
from storage.records import FrameTimesRecord, Interval

Value = TypeVar("Value")
_Times = NDArray[np.int64]


def labels_of_frames(intervals: Sequence[Interval], times: FrameTimesRecord) -> tuple[int, ...]:
    """Label a frame 1 if intervals cover at least half of the time that it is shown.

    So a bound moves by at most half a frame on its way from times to frames.
    """
    start_ms, end_ms = _shown(times)
    covered_ms = _covered_until(end_ms, intervals) - _covered_until(start_ms, intervals)
    return tuple((2 * covered_ms >= end_ms - start_ms).astype(int).tolist())


def intervals_of_frames(labels: Sequence[int], times: FrameTimesRecord) -> tuple[Interval, ...]:
    """Give each run of frames labelled 1 as the time from its first frame to its last one's end.

    Raises:
        ValueError: there is not one label for each frame.
    """
    if len(labels) != len(times.frame_ms):
        raise ValueError(f"{len(labels)} labels were given for {len(times.frame_ms)} frames")
    bounds_ms = [*times.frame_ms, times.end_ms]
    steps = np.diff([0, *(int(label == 1) for label in labels), 0])
    firsts, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
    runs = [
        Interval(start_ms=bounds_ms[first], end_ms=bounds_ms[end])
        for first, end in zip(firsts, ends, strict=True)
    ]
    return tidy_intervals(run for run in runs if run.start_ms < run.end_ms)[0]


def values_of_frames(
    values: Sequence[tuple[int, Value]], times: FrameTimesRecord
) -> tuple[Value | None, ...]:
    """Give every frame the value of the segment it lies in.

    ``values`` are pairs of a segment's ``start_ms`` and its value, in any order; a segment reaches
    to the next one's start. A frame before the first segment has ``None``.
    """
    ordered = sorted(values, key=lambda pair: pair[0])
    starts_ms = [start_ms for start_ms, _ in ordered]
    locations = np.searchsorted(starts_ms, times.frame_ms, side="right") - 1
    return tuple(ordered[location][1] if location >= 0 else None for location in locations)


def _shown(times: FrameTimesRecord) -> tuple[_Times, _Times]:
    """Give from when until when each frame is shown, at least a millisecond."""
    start_ms = np.array(times.frame_ms, dtype=np.int64)
    return start_ms, np.maximum(np.append(start_ms[1:], times.end_ms), start_ms + 1)


def _covered_until(moments_ms: _Times, intervals: Sequence[Interval]) -> _Times:
    """Count the covered milliseconds before each moment: a line that rises within intervals."""
    joined, _ = tidy_intervals(intervals)
    bounds = [bound for i in joined for bound in (i.start_ms, i.end_ms)]
    lengths = [length for i in joined for length in (0, i.end_ms - i.start_ms)]
    if not joined:
        return np.zeros_like(moments_ms)
    return np.rint(np.interp(moments_ms, bounds, np.cumsum(lengths))).astype(np.int64)
