"""How many positive videos get no positive segment, under each unit of overlap.

The videos are simulated after the published statistics of the BAH data set: A/H intervals of
4.25 ± 2.47 s in videos of 26.7 s, about two in a positive one (1.79 h of A/H in 778 videos). They
are cut and labeled by Waver's own functions.

    python -m infra.benchmarks.label_rule
"""

import argparse
from collections.abc import Iterator, Sequence
from typing import Literal, get_args

import numpy as np

from storage.records import (
    AUDIO_SAMPLE_RATE,
    Interval,
    VideoId,
    VideoRecord,
)
from tasks.labels.annotation import locate
from tasks.labels.label_rule import LabelRule, label_segment
from tasks.labels.overlap import measure_overlap
from tasks.media.plan import plan_audio

Unit = Literal["fraction", "larger_fraction"]
_INTERVAL_S, _INTERVAL_SD_S, _VIDEO_S = 4.25, 2.47, 26.7
_EXTRA_INTERVALS = 0.95  # per positive video, beyond the first
_SHORTEST_MS = 300
_SEGMENT_MS = 5_000
_THRESHOLDS = (0.3, 0.5, 0.7)


def simulate_videos(num_videos: int, seed: int = 0) -> Iterator[tuple[VideoRecord, int]]:
    """Yield positive videos, each with its duration in milliseconds."""
    rng = np.random.default_rng(seed)
    while num_videos > 0:
        duration_ms = round(1000 * rng.gamma(4.0, _VIDEO_S / 4.0))
        lengths = _interval_lengths_ms(rng, 1 + rng.poisson(_EXTRA_INTERVALS))
        if sum(lengths) >= duration_ms:
            continue
        num_videos -= 1
        video_id = VideoId(f"{num_videos}.mp4")
        yield (
            VideoRecord(
                video_id=video_id,
                path=video_id,
                label=1,
                intervals=tuple(_arrange(rng, lengths, duration_ms)),
            ),
            duration_ms,
        )


def _interval_lengths_ms(rng: np.random.Generator, count: int) -> list[int]:
    """Draw lengths from the gamma distribution of this mean and standard deviation."""
    shape = (_INTERVAL_S / _INTERVAL_SD_S) ** 2
    seconds = rng.gamma(shape, _INTERVAL_S / shape, count)
    return [max(_SHORTEST_MS, round(1000 * length)) for length in seconds]


def _arrange(
    rng: np.random.Generator, lengths_ms: Sequence[int], duration_ms: int
) -> Iterator[Interval]:
    """Arrange intervals in order, with uniformly distributed gaps between them."""
    rest_ms = duration_ms - sum(lengths_ms)
    gaps_ms = np.diff(np.sort(rng.integers(0, rest_ms + 1, len(lengths_ms))), prepend=0)
    start_ms = 0
    for gap_ms, length_ms in zip(gaps_ms, lengths_ms, strict=True):
        start_ms += int(gap_ms)
        yield Interval(start_ms=start_ms, end_ms=start_ms + length_ms)
        start_ms += length_ms


def has_positive_segment(video: VideoRecord, duration_ms: int, rule: LabelRule) -> bool:
    """Cut a video by the fixed rule, and return whether one of its segments is positive."""
    annotation = locate(video, duration_ms)
    plan = plan_audio(duration_ms * AUDIO_SAMPLE_RATE // 1000, _SEGMENT_MS)
    return any(
        label_segment(
            annotation, measure_overlap(segment.start_ms, segment.end_ms, annotation), rule
        ).label
        == 1
        for segment in plan
    )


def fraction_without(videos: Sequence[tuple[VideoRecord, int]], rule: LabelRule) -> float:
    """Return the fraction of videos without a positive segment."""
    return sum(not has_positive_segment(*video, rule) for video in videos) / len(videos)


def main() -> None:
    """Print the fraction of positive videos without a positive segment, by unit and threshold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=int, default=20_000, help="number of simulated videos")
    videos = list(simulate_videos(parser.parse_args().videos))
    print(f"| positive_at | {' | '.join(get_args(Unit))} |")
    print("|---|---|---|")
    for threshold in _THRESHOLDS:
        cells = (
            f"{fraction_without(videos, LabelRule(overlap_unit=unit, positive_at=threshold)):.1%}"
            for unit in get_args(Unit)
        )
        print(f"| {threshold} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
