"""Where to cut: boundaries on frames, spread evenly so that no stub is left."""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

SAMPLE_RATE = 16_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSegment:
    """One segment: frames ``[first_frame, end_frame)``, samples ``[first_sample, end_sample)``.

    Frames and samples count from the video's first frame; neighbours share their boundary.
    """

    index: int
    first_frame: int
    end_frame: int
    start_ms: int
    end_ms: int
    first_sample: int
    end_sample: int

    @property
    def num_frames(self) -> int:
        """How many frames of picture."""
        return self.end_frame - self.first_frame

    @property
    def num_samples(self) -> int:
        """How many samples of 16 kHz sound."""
        return self.end_sample - self.first_sample


def plan_segments(
    frame_times: Sequence[float], end_time: float, max_segment_ms: int
) -> list[PlannedSegment]:
    """Split a video into the fewest equal segments of at most ``max_segment_ms``.

    Each boundary lies on the frame nearest to the equal split; where that makes a segment too long
    (uneven frame times), one more segment is used. 10.033 s is three segments of 3.34 s.
    """
    start = frame_times[0]
    duration = end_time - start
    count = max(1, math.ceil(duration * 1000 / max_segment_ms - 1e-3))
    while True:
        firsts = _nearest_frames(frame_times, start, duration, count)
        bounds = [frame_times[i] - start for i in firsts] + [duration]
        longest_ms = max(_to_ms(b) - _to_ms(a) for a, b in zip(bounds, bounds[1:], strict=False))
        if longest_ms <= max_segment_ms or count > len(frame_times):
            break
        count += 1
    frames = [*firsts, len(frame_times)]
    return [
        PlannedSegment(
            index=k,
            first_frame=frames[k],
            end_frame=frames[k + 1],
            start_ms=_to_ms(bounds[k]),
            end_ms=_to_ms(bounds[k + 1]),
            first_sample=round(bounds[k] * SAMPLE_RATE),
            end_sample=round(bounds[k + 1] * SAMPLE_RATE),
        )
        for k in range(len(firsts))
    ]


def _to_ms(seconds: float) -> int:
    return round(seconds * 1000)


def _nearest_frames(
    frame_times: Sequence[float], start: float, duration: float, count: int
) -> list[int]:
    """Give the frames nearest to the ``count`` equal parts' starts, without repeats."""
    chosen = {0}
    for k in range(1, count):
        wanted = start + duration * k / count
        right = min(bisect_left(frame_times, wanted), len(frame_times) - 1)
        left = max(right - 1, 0)
        nearer_left = wanted - frame_times[left] <= frame_times[right] - wanted
        chosen.add(left if nearer_left else right)
    return sorted(chosen)
