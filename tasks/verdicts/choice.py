"""Thresholds and the pooling rule, chosen on validation and on nothing else."""

from collections.abc import Sequence
from dataclasses import replace

from storage.records import VideoId
from storage.results import ThresholdRecord
from tasks.verdicts.metrics import measure
from tasks.verdicts.pooling import PoolingRule
from tasks.verdicts.rows import Scored
from tasks.verdicts.thresholds import ThresholdPolicy, choose_threshold

_UNTUNED_RULE: PoolingRule = "mean"


def choose_thresholds(scored: Scored, policy: ThresholdPolicy) -> list[ThresholdRecord]:
    """Choose each method's threshold on the labelled validation rows that have a prediction."""
    return [_choose(scored, method, policy) for method in scored.scores]


def _choose(scored: Scored, method: str, policy: ThresholdPolicy) -> ThresholdRecord:
    used = scored.measurable("val")
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
        average_precision=measure(labels, p_ah, threshold.value)["average_precision"],
        chosen=False,
        chosen_on=tuple(sorted({VideoId(row.video_id) for row in scored.marked(used)})),
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


def _merit(record: ThresholdRecord) -> tuple[float, float]:
    return record.score or 0.0, record.average_precision or 0.0
