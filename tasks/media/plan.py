"""Plan segment boundaries on frames, evenly spaced so that no short remainder is left.

Only a frame that stands still for longer than a segment is cut between frames. Files without video
are split on whole milliseconds of audio.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from storage.errors import FramesFault
from storage.records import AUDIO_SAMPLE_RATE

_SAMPLES_PER_MS = AUDIO_SAMPLE_RATE // 1000
# A clock that jumps by hours would become as much of one frame.
_MAX_STILL_SECONDS = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSegment:
    """One segment: frames ``[first_frame, end_frame)``, samples ``[first_sample, end_sample)``.

    Frames and samples are numbered from the video's first frame; a segment ends where the next one
    starts. A segment without frames of its own ``is_held``: all through it the frame before
    ``first_frame`` is on the screen, whose first segment it is not. Without video there are no
    frames, and the last segment may end within its last millisecond.
    """

    index: int
    first_frame: int
    end_frame: int
    start_ms: int
    end_ms: int
    first_sample: int
    end_sample: int
    is_held: bool = False

    @property
    def num_frames(self) -> int:
        """Number of the source's frames."""
        return self.end_frame - self.first_frame

    @property
    def has_video(self) -> bool:
        """Whether the segment shows a frame, of its own or held."""
        return self.num_frames > 0 or self.is_held

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

    A frame that stands still for longer than a segment ends with a boundary, and is itself split
    where the equal split falls: each segment either starts with a frame, or only holds one.

    The frames nearest to ``cut_points_ms``, milliseconds from the first frame, are boundaries too,
    as is a cut point within a frame that stands still. Each stretch between two of them is split
    separately: its segments may be short.

    Raises:
        FramesFault: a single frame is displayed for longer than ten minutes.
    """
    times = [time - frame_times[0] for time in frame_times]
    duration = end_time - frame_times[0]
    ends = [*times[1:], duration]
    stills = [k for k, end in enumerate(ends) if not _fits(times[k], end, max_segment_ms)]
    _check_stills([(times[k], ends[k]) for k in stills])
    bounds: list[float] = []
    for start, end in pairwise(_stretches(times, ends, stills, cut_points_ms)):
        bounds += _split(times, start, end, max_segment_ms)
    return _segments_between(times, [*bounds, duration])


def _segments_between(times: Sequence[float], bounds: Sequence[float]) -> list[PlannedSegment]:
    """Return the segments between boundaries in seconds, of which the last is the video's end."""
    frames = [*(bisect_left(times, bound) for bound in bounds[:-1]), len(times)]
    return [
        PlannedSegment(
            index=k,
            first_frame=frames[k],
            end_frame=frames[k + 1],
            start_ms=_to_ms(bounds[k]),
            end_ms=_to_ms(bounds[k + 1]),
            first_sample=_to_samples(bounds[k]),
            end_sample=_to_samples(bounds[k + 1]),
            is_held=frames[k] == frames[k + 1],
        )
        for k in range(len(bounds) - 1)
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


def _check_stills(stills: Sequence[tuple[float, float]]) -> None:
    """Raise if a frame stands still, from and until these times, for too long to be video."""
    for start, end in stills:
        if end - start > _MAX_STILL_SECONDS:
            raise FramesFault(
                f"the frame at {_to_ms(start)} ms lasts for {end - start:.0f} s, longer than "
                f"{_MAX_STILL_SECONDS:.0f} s: if its clock jumps, re-encode the file"
            )


def _stretches(
    times: Sequence[float],
    ends: Sequence[float],
    stills: Sequence[int],
    cut_points_ms: Sequence[int],
) -> list[float]:
    """Return the times between which frames are split: start, end, cut points, ends of stills."""
    bounds = [*times, ends[-1]]
    starts_ms = [_to_ms(times[k]) for k in stills]
    points = {bounds[0], bounds[-1], *(ends[k] for k in stills)}
    for point_ms in cut_points_ms:
        still = bisect_left(starts_ms, point_ms) - 1  # the last one that starts before the point
        if still >= 0 and point_ms < _to_ms(ends[stills[still]]):
            points.add(point_ms / 1000)
        else:
            points.add(bounds[_nearest(bounds, point_ms / 1000)])
    return sorted(points)


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


def _split(times: Sequence[float], start: float, end: float, max_segment_ms: int) -> list[float]:
    """Return when each segment of a stretch starts. In a stretch, only the last frame is still."""
    first, until = bisect_left(times, start), bisect_left(times, end)
    frames = times[first:until] or [start]
    if frames[0] > start:  # within a frame that stands still
        frames = [start]
    fewest = max(1, math.ceil((end - start) * 1000 / max_segment_ms - 1e-3))
    for count in range(fewest, 2 * fewest + 2):
        bounds = _nearest_times(frames, start, end, count, max_segment_ms)
        if all(_fits(a, b, max_segment_ms) for a, b in pairwise([*bounds, end])):
            return bounds
    return _latest_times(frames, end, max_segment_ms)


def _nearest_times(
    frames: Sequence[float], start: float, end: float, count: int, max_segment_ms: int
) -> list[float]:
    """Return the frames nearest to the starts of ``count`` equal parts, without repeats.

    Starts within a last frame that stands still are returned as they are.
    """
    splits = (start + (end - start) * k / count for k in range(1, count))
    is_still = not _fits(frames[-1], end, max_segment_ms)
    return sorted(
        {start}
        | {
            split
            if is_still and _to_ms(split) > _to_ms(frames[-1])
            else frames[_nearest(frames, split)]
            for split in splits
        }
    )


def _nearest(times: Sequence[float], expected: float) -> int:
    """Return the index of the time nearest to ``expected``; of equal times, the first."""
    right = min(bisect_left(times, expected), len(times) - 1)
    left = max(right - 1, 0)
    nearest = left if expected - times[left] <= times[right] - expected else right
    return bisect_left(times, times[nearest])


def _latest_times(frames: Sequence[float], end: float, max_segment_ms: int) -> list[float]:
    """Fill each segment with as many frames as fit, for frames that last for seconds."""
    bounds = [frames[0]]
    while not _fits(bounds[-1], end, max_segment_ms):
        start = bounds[-1]
        if start >= frames[-1]:  # the last frame stands still
            count = math.ceil((end - start) * 1000 / max_segment_ms + 0.5)
            return [*bounds, *(start + (end - start) * k / count for k in range(1, count))]
        last = bisect_right(frames, start + max_segment_ms / 1000) - 1
        while not _fits(start, frames[last], max_segment_ms):
            last -= 1
        # After rounding, a frame may fit that the exact times exclude.
        following = max(last, bisect_right(frames, start))
        bounds.append(frames[bisect_left(frames, frames[following])])
    return bounds
