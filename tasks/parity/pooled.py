"""Verdicts on whole videos that differ between the backends, from the sampled segments."""

from dataclasses import dataclass
from pathlib import Path

from tasks.evaluation.evaluation import EvaluationPlan
from tasks.evaluation.pooling import PoolingRule, open_segments


@dataclass(frozen=True, slots=True, kw_only=True)
class PooledFlips:
    """The number of videos predicted by both backends whose verdicts differ."""

    rule: PoolingRule
    num_videos: int
    num_flips: int


def count_flips(
    samples_path: Path,
    predictions_paths: tuple[Path, Path],
    plan: EvaluationPlan,
    threshold: float,
) -> PooledFlips:
    """Pool both backends' predictions by the first rule of the settings and compare verdicts.

    The Parquet files contain the samples, and per backend a `p_ah` for each segment.
    """
    rule, pooled = plan.pooling_rules[0], []
    for path in predictions_paths:
        with open_segments(samples_path, path) as table:
            pooled.append(table.pool(rule, plan.top_k))
    first, second = pooled
    both = first.keys() & second.keys()
    flips = sum((first[video] >= threshold) != (second[video] >= threshold) for video in both)
    return PooledFlips(rule=rule, num_videos=len(both), num_flips=flips)
