"""Where to cut: boundaries on frames, spread evenly so that no stub is left.

Sound without picture is cut on whole milliseconds.
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

    Frames and samples count from the video's first frame; neighbours share their boundary. Without
    a picture there are no frames, and the last segment may end within its last millisecond.
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
    frame_times: Sequence[float],
    end_time: float,
    max_segment_ms: int,
    cut_points_ms: Sequence[int] = (),
) -> list[PlannedSegment]:
    """Split a video into the fewest equal segments of at most ``max_segment_ms``.

    Each boundary lies on the frame nearest to the equal split; where that makes a segment too long
    (uneven frame times), more segments are used. 10.033 s is three segments of 3.34 s.

    With ``cut_points_ms``, milliseconds from the first frame, the frames nearest to them are boundaries
    too, and every stretch between two of them is split in that way: its segments may be short.

    Raises:
        ItemFault: one frame is shown for longer than a segment may last.
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
    """Split a sound of at least one sample into the fewest equal segments, to a millisecond.

    ``cut_points_ms`` are boundaries too. The last, incomplete millisecond counts as a whole one.
    """
    end_ms = -(-num_samples // _SAMPLES_PER_MS)
    stretches = sorted({0, end_ms, *(mark for mark in cut_points_ms if 0 < mark < end_ms)})
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
    """Give the frames at which stretches begin, and the number of frames as the last one's end."""
    shown = [*times, duration]
    return sorted({0, len(times), *(_nearest(shown, mark / 1000) for mark in cut_points_ms)})


def frames_ms(frame_times: Sequence[float]) -> tuple[int, ...]:
    """Give frames' times in milliseconds from the first, by the rounding that bounds have."""
    return tuple(_to_ms(time - frame_times[0]) for time in frame_times)


def _to_ms(seconds: float) -> int:
    return round(seconds * 1000)


def _to_samples(seconds: float) -> int:
    return round(seconds * AUDIO_SAMPLE_RATE)


def _fits(start: float, end: float, max_segment_ms: int) -> bool:
    """Say whether a segment is short enough, by its milliseconds and by its samples."""
    samples = _to_samples(end) - _to_samples(start)
    return (
        _to_ms(end) - _to_ms(start) <= max_segment_ms
        and samples <= max_segment_ms * _SAMPLES_PER_MS
    )


def _first_frames(times: Sequence[float], end: float, max_segment_ms: int) -> list[int]:
    """Choose the first frame of every segment of a stretch that is shown until ``end``."""
    shown, hidden = max(pairwise([*times, end]), key=lambda frame: frame[1] - frame[0])
    if not _fits(shown, hidden, max_segment_ms):
        raise ItemFault(
            f"its picture stands still for {_to_ms(hidden - shown)} ms at {_to_ms(shown)} ms, "
            f"longer than a segment of {max_segment_ms} ms, and no frame may be shown twice: set "
            "segment.max_segment_ms higher, or hand it in with a steady frame rate"
        )
    fewest = max(1, math.ceil((end - times[0]) * 1000 / max_segment_ms - 1e-3))
    for count in range(fewest, 2 * fewest + 2):
        firsts = _nearest_frames(times, end, count)
        bounds = [*(times[first] for first in firsts), end]
        if all(_fits(a, b, max_segment_ms) for a, b in pairwise(bounds)):
            return firsts
    return _latest_frames(times, end, max_segment_ms)


def _nearest_frames(times: Sequence[float], end: float, count: int) -> list[int]:
    """Give the frames nearest to the ``count`` equal parts' starts, without repeats."""
    starts = (times[0] + (end - times[0]) * k / count for k in range(1, count))
    return sorted({0, *(_nearest(times, start) for start in starts)})


def _nearest(times: Sequence[float], expected: float) -> int:
    """Give the place of the time nearest to the wanted one; of equal times, the first."""
    right = min(bisect_left(times, expected), len(times) - 1)
    left = max(right - 1, 0)
    nearest = left if expected - times[left] <= times[right] - expected else right
    return bisect_left(times, times[nearest])


def _latest_frames(times: Sequence[float], end: float, max_segment_ms: int) -> list[int]:
    """Give each segment all the frames it may hold: for pictures that stand still for seconds."""
    firsts = [0]
    while not _fits(times[firsts[-1]], end, max_segment_ms):
        started = times[firsts[-1]]
        last = bisect_right(times, started + max_segment_ms / 1000) - 1
        while not _fits(started, times[last], max_segment_ms):
            last -= 1
        # Rounding may let the next frame fit that the bare times leave out.
        following = max(last, bisect_right(times, started))
        firsts.append(bisect_left(times, times[following]))
    return firsts
