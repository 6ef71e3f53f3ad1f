"""Whether both sides judge whole videos alike, their sampled segments pooled as a run does."""

from dataclasses import dataclass
from pathlib import Path

from tasks.evaluation.evaluation import EvaluationPlan
from tasks.evaluation.pooling import PoolingRule, open_segments


@dataclass(frozen=True, slots=True, kw_only=True)
class PooledFlips:
    """How many of the videos that both sides answered about are judged otherwise."""

    rule: PoolingRule
    num_videos: int
    num_flips: int


def count_flips(
    samples_path: Path,
    answers_paths: tuple[Path, Path],
    plan: EvaluationPlan,
    threshold: float,
) -> PooledFlips:
    """Pool both sides' answers by the first rule of the settings, and compare the verdicts.

    The Parquet files hold samples, and of each side a `p_ah` for each segment.
    """
    rule, sides = plan.pooling_rules[0], []
    for path in answers_paths:
        with open_segments(samples_path, path) as table:
            sides.append(table.pool(rule, plan.top_k))
    first, second = sides
    both = first.keys() & second.keys()
    flips = sum((first[video] >= threshold) != (second[video] >= threshold) for video in both)
    return PooledFlips(rule=rule, num_videos=len(both), num_flips=flips)
