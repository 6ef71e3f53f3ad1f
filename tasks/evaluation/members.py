"""Metrics of each model of an ensemble, beside those of the ensemble."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

import numpy as np

from storage.results import MemberRecord, ThresholdRecord
from tasks.evaluation.evaluation import Evaluation, EvaluationPlan
from tasks.evaluation.metrics import compute_metrics
from tasks.evaluation.pooling import PoolingRule, open_segments
from tasks.evaluation.rows import SPLITS, ScoredRows
from tasks.evaluation.rule_selection import choose_thresholds

ENSEMBLE = "ensemble"


def measure_members(
    samples_path: Path,
    predictions_paths: Mapping[str, Path],
    evaluation: Evaluation,
    plan: EvaluationPlan,
) -> Iterator[MemberRecord]:
    """Compute each model's video metrics under the pooling rule chosen for the ensemble.

    Each model has a threshold of its own, chosen on validation, or the ensemble's where none can be
    chosen.
    """
    rule = next(row for row in evaluation.thresholds if row.chosen)
    for name, path in predictions_paths.items():
        with open_segments(samples_path, path) as table:
            pooled = table.pool(cast(PoolingRule, rule.method), plan.top_k)
        p_ah = np.array([pooled.get(row.video_id, np.nan) for row in evaluation.videos], float)
        scored = ScoredRows(level="video", rows=evaluation.videos, scores={rule.method: p_ah})
        (own,) = choose_thresholds(scored, plan.policy)
        yield from _members(name, scored, own if own.score is not None else rule)


def _members(name: str, scored: ScoredRows, rule: ThresholdRecord) -> Iterator[MemberRecord]:
    for split in SPLITS:
        mask = scored.evaluated_mask(split)
        if not mask.any():
            continue
        labels, p_ah = scored.labels[mask], scored.scores[rule.method][mask]
        values = compute_metrics(labels, p_ah, rule.threshold)
        yield MemberRecord(
            model=name,
            split=split,
            pooling_rule=rule.method,
            threshold=rule.threshold,
            macro_f1=values["macro_f1"],
            average_precision=values["average_precision"],
            num_rows=len(labels),
        )
