"""What every arm reaches, and how far it lies from the arm with everything, on the same rows.

The pooling rule is the one that the whole arm chooses on validation; every arm has thresholds of
its own, chosen on validation too, so that none is judged by another's scale.
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
from tasks.evaluation.evaluation import SEGMENT_METHOD, EvaluationPlan
from tasks.evaluation.metrics import METRICS, Floats, compute_metrics
from tasks.evaluation.pooling import PoolingRule, open_segments
from tasks.evaluation.rows import EvaluatedRow, ScoredRows
from tasks.evaluation.selection import choose_rule, choose_thresholds

LEVELS = ("video", "segment")
SPLIT = "test"


@dataclass(frozen=True, slots=True, kw_only=True)
class AblationRecord:
    """One figure of one arm on the test rows, and its difference to the whole arm.

    ``value`` stands on ``num_rows``, of which ``share_present`` show A/H: the average precision of
    answers that know nothing. ``difference`` is value less the whole arm's on the rows that
    both answered, ``num_paired``. ``None`` where a figure is undefined, or an interval where there
    are fewer than two participants. ``threshold`` was chosen on validation for ``method``.
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
    share_present: float | None
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    num_paired: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmPredictions:
    """One arm's answers, under the segments' own names."""

    name: str
    is_control: bool
    predictions: Sequence[PredictionRecord]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """One arm at one level: rows that every arm shares, probabilities (NaN: none), threshold."""

    arm: ArmPredictions
    scored: ScoredRows
    method: str
    threshold: float

    @property
    def p_ah(self) -> Floats:
        """Every row's probability."""
        return self.scored.scores[self.method]


def measure_arms(
    samples: Sequence[SampleRecord],
    arms: Sequence[ArmPredictions],
    plan: EvaluationPlan,
    folder: Path,
) -> list[AblationRecord]:
    """Measure all arms in the empty ``folder``; the first one is the whole."""
    samples_path = folder / "samples.parquet"
    write_parquet(
        to_table(SampleRecord, samples).drop_columns(list(TRANSCRIPT_COLUMNS)), samples_path
    )
    scored = [_score(samples_path, arm, plan, folder) for arm in arms]
    rule = _rule_of(scored[0]["video"], plan)
    records = []
    for level, method in zip(LEVELS, (rule, SEGMENT_METHOD), strict=True):
        judged = [
            _verify(arm, of_levels[level], method, plan)
            for arm, of_levels in zip(arms, scored, strict=True)
        ]
        for one in judged:
            records += _compare(one, judged[0], plan.bootstrap)
    return records


def _score(
    samples_path: Path, arm: ArmPredictions, plan: EvaluationPlan, folder: Path
) -> Mapping[str, ScoredRows]:
    """Pool one arm's answers under every rule."""
    predictions_path = folder / "predictions.parquet"
    write_parquet(to_table(PredictionRecord, arm.predictions), predictions_path)
    with open_segments(samples_path, predictions_path) as table:
        segments, videos = table.segments(), table.videos()
        pooled = {rule: table.pool(rule, plan.top_k) for rule in plan.pooling_rules}
    unpooled = np.array([row.p_ah for row in segments], dtype=float)  # None becomes NaN
    by_rule: dict[str, Floats] = {
        rule: np.array([p_ah.get(row.video_id, np.nan) for row in videos], dtype=float)
        for rule, p_ah in pooled.items()
    }
    return {
        "video": ScoredRows(level="video", rows=videos, scores=by_rule),
        "segment": ScoredRows(level="segment", rows=segments, scores={SEGMENT_METHOD: unpooled}),
    }


def _rule_of(scored: ScoredRows, plan: EvaluationPlan) -> PoolingRule:
    chosen = choose_rule(choose_thresholds(scored, plan.policy), plan.pooling_rules)
    marked = {record.method for record in chosen if record.chosen}
    return next(rule for rule in plan.pooling_rules if rule in marked)


def _verify(arm: ArmPredictions, scored: ScoredRows, method: str, plan: EvaluationPlan) -> _Judged:
    records = choose_thresholds(scored, plan.policy)
    threshold = next(record.threshold for record in records if record.method == method)
    return _Judged(arm=arm, scored=scored, method=method, threshold=threshold)


def _compare(one: _Judged, whole: _Judged, bootstrap: BootstrapSettings) -> list[AblationRecord]:
    own = one.scored.evaluated_mask(SPLIT)
    values = _values(one, own)
    spread = bootstrap_intervals(
        one.scored.labels[own], one.p_ah[own], one.threshold, _clusters(one, own), bootstrap
    )
    share_present = float(one.scored.labels[own].mean()) if own.any() else None
    paired = own & whole.scored.evaluated_mask(SPLIT)
    ours, theirs = _values(one, paired), _values(whole, paired)
    apart = _spread_apart(one, whole, paired, bootstrap)
    records = []
    for name in METRICS:
        low, high = _bounds(values[name], spread[name])
        difference = _less(ours[name], theirs[name])
        below, above = _bounds(difference, apart[name])
        records.append(
            AblationRecord(
                arm=one.arm.name, is_control=one.arm.is_control, level=one.scored.level,
                method=one.method, threshold=one.threshold, name=name, value=values[name],
                low=low, high=high, num_rows=int(own.sum()), share_present=share_present,
                difference=difference, difference_low=below, difference_high=above,
                num_paired=int(paired.sum()),
            )
        )  # fmt: skip
    return records


def _values(judged: _Judged, mask: np.ndarray) -> dict[str, float | None]:
    return compute_metrics(judged.scored.labels[mask], judged.p_ah[mask], judged.threshold)


def _spread_apart(
    one: _Judged, whole: _Judged, paired: np.ndarray, bootstrap: BootstrapSettings
) -> dict[str, Interval]:
    return bootstrap_difference(
        one.scored.labels[paired],
        (one.p_ah[paired], one.threshold),
        (whole.p_ah[paired], whole.threshold),
        _clusters(one, paired),
        bootstrap,
    )


def _clusters(judged: _Judged, mask: np.ndarray) -> list[str]:
    rows: list[EvaluatedRow] = judged.scored.rows_at(mask)
    return [row.cluster for row in rows]


def _less(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first - second


def _bounds(value: float | None, spread: Interval) -> tuple[float | None, float | None]:
    return (None, None) if value is None or spread is None else spread
