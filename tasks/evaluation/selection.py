"""Thresholds and the pooling rule, chosen on validation and on nothing else: here, or earlier."""

from collections.abc import Sequence
from dataclasses import replace

from storage.records import VideoId
from storage.results import ThresholdRecord
from tasks.evaluation.baselines import BASELINES
from tasks.evaluation.earlier_selection import EarlierSelection
from tasks.evaluation.metrics import compute_metrics
from tasks.evaluation.pooling import PoolingRule
from tasks.evaluation.rows import ScoredRows
from tasks.evaluation.thresholds import ThresholdPolicy, choose_threshold

_UNTUNED_RULE: PoolingRule = "mean"
_NOBODY_CHOSE = "and no run in this store chose another for this model with these settings"


def choose_thresholds(scored: ScoredRows, policy: ThresholdPolicy) -> list[ThresholdRecord]:
    """Choose each method's threshold on the labelled validation rows that have a prediction."""
    return [_choose(scored, method, policy) for method in scored.scores]


def _choose(scored: ScoredRows, method: str, policy: ThresholdPolicy) -> ThresholdRecord:
    used = scored.evaluated_mask("val")
    labels, p_ah = scored.labels[used], scored.scores[method][used]
    if method == "constant":  # the majority of train, whatever validation holds
        policy = replace(policy, rule="fixed")
    threshold = choose_threshold(labels, p_ah, policy)
    return ThresholdRecord(
        method=method,
        level=scored.level,
        threshold=threshold.value,
        threshold_rule=threshold.rule,
        reason=threshold.reason,
        low=threshold.low,
        high=threshold.high,
        score_name=policy.score_name,
        score=threshold.score,
        average_precision=compute_metrics(labels, p_ah, threshold.value)["average_precision"],
        chosen=False,
        chosen_on=tuple(sorted({VideoId(row.video_id) for row in scored.rows_at(used)})),
    )


def choose_rule(
    thresholds: Sequence[ThresholdRecord], pooling_rules: Sequence[PoolingRule]
) -> list[ThresholdRecord]:
    """Mark the pooling rule that scores best on validation.

    Equals are told apart by average precision, then by the order of ``pooling_rules``. Without
    scores it is the mean, where that is among them.
    """
    of_rule = {record.method: record for record in thresholds if record.method in pooling_rules}
    scored = [rule for rule in pooling_rules if of_rule[rule].score is not None]
    if scored:
        chosen = max(scored, key=lambda rule: _merit(of_rule[rule]))
    else:
        chosen = _UNTUNED_RULE if _UNTUNED_RULE in pooling_rules else pooling_rules[0]
    return [replace(record, chosen=record.method == chosen) for record in thresholds]


def is_chosen(thresholds: Sequence[ThresholdRecord]) -> bool:
    """Say whether the pooling rule that counts was chosen on rows of validation."""
    return any(record.chosen and record.score is not None for record in thresholds)


def adopt_earlier(
    thresholds: Sequence[ThresholdRecord], earlier: EarlierSelection | None
) -> list[ThresholdRecord]:
    """Take from an earlier run what could not be chosen on validation; say so where there is none.

    What is taken has no score: nothing was measured here. Baselines are not the model's and stay.
    """
    taken = {(row.method, row.level): row for row in earlier.thresholds} if earlier else {}
    return [
        own
        if own.score is not None or own.method in BASELINES
        else _taken(own, taken.get((own.method, own.level)), earlier)
        for own in thresholds
    ]


def _taken(
    own: ThresholdRecord, found: ThresholdRecord | None, earlier: EarlierSelection | None
) -> ThresholdRecord:
    if earlier is None:
        return replace(own, reason=f"{own.reason}, {_NOBODY_CHOSE}")
    chosen = own.method == earlier.rule.method
    if found is None or found.score is None:
        return replace(own, chosen=chosen)
    return replace(
        own,
        threshold=found.threshold,
        threshold_rule=found.threshold_rule,
        reason=f"{found.reason}, {earlier.origin}",
        chosen=chosen,
    )


def _merit(record: ThresholdRecord) -> tuple[float, float]:
    return record.score or 0.0, record.average_precision or 0.0
