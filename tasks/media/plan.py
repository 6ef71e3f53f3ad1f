"""Plan segment boundaries on frames, evenly spaced so that no short remainder is left.

Files without video are split on whole milliseconds of audio.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from storage.errors import ItemFault
from storage.records import AUDIO_SAMPLE_RATE

_SAMPLES_PER_MS = AUDIO_SAMPLE_RATE // 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSegment:
    """One segment: frames ``[first_frame, end_frame)``, samples ``[first_sample, end_sample)``.

    Frames and samples are numbered from the video's first frame; a segment ends where the next one
    starts. Without video there are no frames, and the last segment may end within its last
    millisecond.
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
        """Number of video frames."""
        return self.end_frame - self.first_frame

    @property
    def num_samples(self) -> int:
        """Number of 16 kHz audio samples."""
        return self.end_sample - self.first_sample


def plan_segments(
    frame_times: Sequence[float],
    end_time: float,
    max_segment_ms: int,
    cut_points_ms: Sequence[int] = (),
) -> list[PlannedSegment]:
    """Split a video into the fewest equal segments of at most ``max_segment_ms``.

    Each boundary is the frame nearest to the equal split; if that makes a segment too long (uneven
    frame times), more segments are used. 10.033 s becomes three segments of 3.34 s.

    The frames nearest to ``cut_points_ms``, milliseconds from the first frame, are boundaries too,
    and each stretch between two of them is split separately: its segments may be short.

    Raises:
        ItemFault: a single frame is displayed for longer than a segment.
    """
    start = frame_times[0]
    times = [time - start for time in frame_times]
    duration = end_time - start
    firsts: list[int] = []
    for first, end in pairwise(_stretches(times, duration, cut_points_ms)):
        until = times[end] if end < len(times) else duration
        firsts += (first + n for n in _first_frames(times[first:end], until, max_segment_ms))
    frames = [*firsts, len(times)]
    bounds = [*(times[first] for first in firsts), duration]
    return [
        PlannedSegment(
            index=k,
            first_frame=frames[k],
            end_frame=frames[k + 1],
            start_ms=_to_ms(bounds[k]),
            end_ms=_to_ms(bounds[k + 1]),
            first_sample=_to_samples(bounds[k]),
            end_sample=_to_samples(bounds[k + 1]),
        )
        for k in range(len(firsts))
    ]


def plan_audio(
    num_samples: int, max_segment_ms: int, cut_points_ms: Sequence[int] = ()
) -> list[PlannedSegment]:
    """Split at least one sample of audio into the fewest equal segments, to the millisecond.

    ``cut_points_ms`` are boundaries too. A last, incomplete millisecond counts as a full one.
    """
    end_ms = -(-num_samples // _SAMPLES_PER_MS)
    stretches = sorted({0, end_ms, *(point for point in cut_points_ms if 0 < point < end_ms)})
    bounds = [0]
    for start, end in pairwise(stretches):
        count = -(-(end - start) // max_segment_ms)
        bounds += (start + (end - start) * k // count for k in range(1, count + 1))
    return [
        PlannedSegment(
            index=k,
            first_frame=0,
            end_frame=0,
            start_ms=start,
            end_ms=end,
            first_sample=start * _SAMPLES_PER_MS,
            end_sample=min(end * _SAMPLES_PER_MS, num_samples),
        )
        for k, (start, end) in enumerate(pairwise(bounds))
    ]


def _stretches(times: Sequence[float], duration: float, cut_points_ms: Sequence[int]) -> list[int]:
    """Return the first frame of each stretch, and the number of frames as the end of the last."""
    bounds = [*times, duration]
    return sorted({0, len(times), *(_nearest(bounds, point / 1000) for point in cut_points_ms)})


def frames_ms(frame_times: Sequence[float]) -> tuple[int, ...]:
    """Return frame times in milliseconds from the first, rounded like segment boundaries."""
    return tuple(_to_ms(time - frame_times[0]) for time in frame_times)


def _to_ms(seconds: float) -> int:
    return round(seconds * 1000)


def _to_samples(seconds: float) -> int:
    return round(seconds * AUDIO_SAMPLE_RATE)


def _fits(start: float, end: float, max_segment_ms: int) -> bool:
    """Return whether a segment is short enough, both in milliseconds and in samples."""
    samples = _to_samples(end) - _to_samples(start)
    return (
        _to_ms(end) - _to_ms(start) <= max_segment_ms
        and samples <= max_segment_ms * _SAMPLES_PER_MS
    )


def _first_frames(times: Sequence[float], end: float, max_segment_ms: int) -> list[int]:
    """Choose the first frame of every segment of a stretch that lasts until ``end``."""
    longest_start, longest_end = max(pairwise([*times, end]), key=lambda frame: frame[1] - frame[0])
    if not _fits(longest_start, longest_end, max_segment_ms):
        raise ItemFault(
            f"the frame at {_to_ms(longest_start)} ms lasts for "
            f"{_to_ms(longest_end - longest_start)} ms, longer than a segment of {max_segment_ms} "
            "ms: raise segment.max_segment_ms, or re-encode the file at a constant frame rate"
        )
    fewest = max(1, math.ceil((end - times[0]) * 1000 / max_segment_ms - 1e-3))
    for count in range(fewest, 2 * fewest + 2):
        firsts = _nearest_frames(times, end, count)
        bounds = [*(times[first] for first in firsts), end]
        if all(_fits(a, b, max_segment_ms) for a, b in pairwise(bounds)):
            return firsts
    return _latest_frames(times, end, max_segment_ms)


def _nearest_frames(times: Sequence[float], end: float, count: int) -> list[int]:
    """Return the frames nearest to the starts of ``count`` equal parts, without repeats."""
    starts = (times[0] + (end - times[0]) * k / count for k in range(1, count))
    return sorted({0, *(_nearest(times, start) for start in starts)})


def _nearest(times: Sequence[float], expected: float) -> int:
    """Return the index of the time nearest to ``expected``; of equal times, the first."""
    right = min(bisect_left(times, expected), len(times) - 1)
    left = max(right - 1, 0)
    nearest = left if expected - times[left] <= times[right] - expected else right
    return bisect_left(times, times[nearest])


def _latest_frames(times: Sequence[float], end: float, max_segment_ms: int) -> list[int]:
    """Fill each segment with as many frames as fit, for frames that last for seconds."""
    firsts = [0]
    while not _fits(times[firsts[-1]], end, max_segment_ms):
        start = times[firsts[-1]]
        last = bisect_right(times, start + max_segment_ms / 1000) - 1
        while not _fits(start, times[last], max_segment_ms):
            last -= 1
        # After rounding, a frame may fit that the exact times exclude.
        following = max(last, bisect_right(times, start))
        firsts.append(bisect_left(times, times[following]))
    return firsts
