"""Selection of thresholds and pooling rule on validation only, in this run or an earlier one."""

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
_NO_EARLIER = "and no earlier run in this store chose one for this model and these settings"


def choose_thresholds(scored: ScoredRows, policy: ThresholdPolicy) -> list[ThresholdRecord]:
    """Choose each method's threshold on the labeled validation rows with a prediction."""
    return [_choose(scored, method, policy) for method in scored.scores]


def _choose(scored: ScoredRows, method: str, policy: ThresholdPolicy) -> ThresholdRecord:
    mask = scored.evaluated_mask("val")
    labels, p_ah = scored.labels[mask], scored.scores[method][mask]
    if method == "constant":  # stays the majority class of train
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
        chosen_on=tuple(sorted({VideoId(row.video_id) for row in scored.rows_at(mask)})),
    )


def choose_rule(
    thresholds: Sequence[ThresholdRecord], pooling_rules: Sequence[PoolingRule]
) -> list[ThresholdRecord]:
    """Mark the pooling rule with the best validation score as chosen.

    Ties are resolved by average precision, then by the order of ``pooling_rules``. Without scores
    the rule is the mean if listed, else the first one.
    """
    by_rule = {record.method: record for record in thresholds if record.method in pooling_rules}
    scored = [rule for rule in pooling_rules if by_rule[rule].score is not None]
    if scored:
        chosen = max(scored, key=lambda rule: _rank(by_rule[rule]))
    else:
        chosen = _UNTUNED_RULE if _UNTUNED_RULE in pooling_rules else pooling_rules[0]
    return [replace(record, chosen=record.method == chosen) for record in thresholds]


def is_chosen_on_validation(thresholds: Sequence[ThresholdRecord]) -> bool:
    """Return whether the chosen pooling rule was selected on validation rows."""
    return any(record.chosen and record.score is not None for record in thresholds)


def adopt_earlier(
    thresholds: Sequence[ThresholdRecord], earlier: EarlierSelection | None
) -> list[ThresholdRecord]:
    """Replace thresholds that could not be chosen on validation by those of an earlier run.

    They have no score, as nothing was measured here. Baselines, which do not depend on the model,
    are kept. Without an earlier run this is added to the reason.
    """
    adopted = {(row.method, row.level): row for row in earlier.thresholds} if earlier else {}
    return [
        own
        if own.score is not None or own.method in BASELINES
        else _adopt(own, adopted.get((own.method, own.level)), earlier)
        for own in thresholds
    ]


def _adopt(
    own: ThresholdRecord, found: ThresholdRecord | None, earlier: EarlierSelection | None
) -> ThresholdRecord:
    if earlier is None:
        return replace(own, reason=f"{own.reason}, {_NO_EARLIER}")
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


def _rank(record: ThresholdRecord) -> tuple[float, float]:
    return record.score or 0.0, record.average_precision or 0.0
