"""Metrics of every arm, and their differences to the arm with all modalities on the same rows.

The pooling rule is the one selected on validation for the arm with all modalities. Thresholds are
selected on validation for every arm, since arms differ in calibration.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from storage.records import TRANSCRIPT_COLUMNS, SampleRecord
from storage.results import PredictionRecord
from storage.schema import to_table, write_parquet
from tasks.evaluation.bootstrap import (
    BootstrapSettings,
    Interval,
    bootstrap_difference,
    bootstrap_intervals,
)
from tasks.evaluation.evaluation import SEGMENT_METHOD, EvaluationPlan, pool_predictions
from tasks.evaluation.metrics import METRICS, Floats, compute_metrics
from tasks.evaluation.pooling import PoolingRule
from tasks.evaluation.rows import EvaluatedRow, ScoredRows
from tasks.evaluation.rule_selection import choose_rule, choose_thresholds

LEVELS = ("video", "segment")
SPLIT = "test"


@dataclass(frozen=True, slots=True, kw_only=True)
class AblationRecord:
    """One metric of one arm on the test rows, and its difference to the arm with all modalities.

    ``value`` is over ``num_rows``; ``fraction_positive`` of them are labeled A/H, which is the
    average precision of random predictions. ``difference`` is the arm's value minus that with all
    modalities, over the ``num_paired`` rows that both predicted. ``None`` if a metric is undefined,
    and for intervals of fewer than two participants. ``threshold`` was selected on validation for
    ``method``.
    """

    arm: str
    is_control: bool
    level: str
    method: str
    threshold: float
    name: str
    value: float | None
    low: float | None
    high: float | None
    num_rows: int
    fraction_positive: float | None
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    num_paired: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmPredictions:
    """One arm's predictions, under the segments' original ids."""

    name: str
    is_control: bool
    predictions: Sequence[PredictionRecord]


@dataclass(frozen=True, slots=True, kw_only=True)
class _ScoredArm:
    """One arm at one level: rows as in every arm, probabilities (NaN: none), threshold."""

    arm: ArmPredictions
    scored: ScoredRows
    method: str
    threshold: float

    @property
    def p_ah(self) -> Floats:
        """Every row's probability of A/H."""
        return self.scored.scores[self.method]


def measure_arms(
    samples: Sequence[SampleRecord],
    arms: Sequence[ArmPredictions],
    plan: EvaluationPlan,
    folder: Path,
) -> list[AblationRecord]:
    """Measure all arms, the one with all modalities first, in the empty ``folder``."""
    samples_path = folder / "samples.parquet"
    write_parquet(
        to_table(SampleRecord, samples).drop_columns(list(TRANSCRIPT_COLUMNS)), samples_path
    )
    scored = [_score(samples_path, arm, plan, folder) for arm in arms]
    rule = _rule_of(scored[0]["video"], plan)
    records = []
    for level, method in zip(LEVELS, (rule, SEGMENT_METHOD), strict=True):
        scored_arms = [
            _with_threshold(arm, by_level[level], method, plan)
            for arm, by_level in zip(arms, scored, strict=True)
        ]
        for scored_arm in scored_arms:
            records += _compare(scored_arm, scored_arms[0], plan.bootstrap)
    return records


def _score(
    samples_path: Path, arm: ArmPredictions, plan: EvaluationPlan, folder: Path
) -> Mapping[str, ScoredRows]:
    """Pool one arm's predictions under every rule."""
    predictions_path = folder / "predictions.parquet"
    write_parquet(to_table(PredictionRecord, arm.predictions), predictions_path)
    pooled = pool_predictions(samples_path, predictions_path, plan)
    return {
        "video": ScoredRows(level="video", rows=pooled.videos, scores=pooled.by_rule),
        "segment": ScoredRows(level="segment", rows=pooled.segments, scores=pooled.unpooled),
    }


def _rule_of(scored: ScoredRows, plan: EvaluationPlan) -> PoolingRule:
    selected = choose_rule(choose_thresholds(scored, plan.policy), plan.pooling_rules)
    methods = {record.method for record in selected if record.chosen}
    return next(rule for rule in plan.pooling_rules if rule in methods)


def _with_threshold(
    arm: ArmPredictions, scored: ScoredRows, method: str, plan: EvaluationPlan
) -> _ScoredArm:
    records = choose_thresholds(scored, plan.policy)
    threshold = next(record.threshold for record in records if record.method == method)
    return _ScoredArm(arm=arm, scored=scored, method=method, threshold=threshold)


def _compare(
    arm: _ScoredArm, full: _ScoredArm, bootstrap: BootstrapSettings
) -> list[AblationRecord]:
    own = arm.scored.evaluated_mask(SPLIT)
    values = _values(arm, own)
    own_intervals = bootstrap_intervals(
        arm.scored.labels[own], arm.p_ah[own], arm.threshold, _clusters(arm, own), bootstrap
    )
    fraction_positive = float(arm.scored.labels[own].mean()) if own.any() else None
    paired = own & full.scored.evaluated_mask(SPLIT)
    own_values, full_values = _values(arm, paired), _values(full, paired)
    intervals = _difference_intervals(arm, full, paired, bootstrap)
    records = []
    for name in METRICS:
        low, high = _bounds(values[name], own_intervals[name])
        difference = _minus(own_values[name], full_values[name])
        difference_low, difference_high = _bounds(difference, intervals[name])
        records.append(
            AblationRecord(
                arm=arm.arm.name, is_control=arm.arm.is_control, level=arm.scored.level,
                method=arm.method, threshold=arm.threshold, name=name, value=values[name],
                low=low, high=high, num_rows=int(own.sum()), fraction_positive=fraction_positive,
                difference=difference, difference_low=difference_low,
                difference_high=difference_high,
                num_paired=int(paired.sum()),
            )
        )  # fmt: skip
    return records


def _values(scored_arm: _ScoredArm, mask: np.ndarray) -> dict[str, float | None]:
    return compute_metrics(
        scored_arm.scored.labels[mask], scored_arm.p_ah[mask], scored_arm.threshold
    )


def _difference_intervals(
    arm: _ScoredArm, full: _ScoredArm, paired: np.ndarray, bootstrap: BootstrapSettings
) -> dict[str, Interval]:
    return bootstrap_difference(
        arm.scored.labels[paired],
        (arm.p_ah[paired], arm.threshold),
        (full.p_ah[paired], full.threshold),
        _clusters(arm, paired),
        bootstrap,
    )


def _clusters(scored_arm: _ScoredArm, mask: np.ndarray) -> list[str]:
    rows: list[EvaluatedRow] = scored_arm.scored.rows_at(mask)
    return [row.cluster for row in rows]


def _minus(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first - second


def _bounds(value: float | None, interval: Interval) -> tuple[float | None, float | None]:
    return (None, None) if value is None or interval is None else interval
