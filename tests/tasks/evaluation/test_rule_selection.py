from dataclasses import replace

import numpy as np
import pytest

from storage.results import ThresholdRecord
from tasks.evaluation.earlier_selection import EarlierSelection
from tasks.evaluation.rows import EvaluatedRow, ScoredRows
from tasks.evaluation.rule_selection import adopt_earlier, choose_rule, choose_thresholds
from tasks.evaluation.thresholds import ThresholdPolicy
from tests.builders import a_threshold

POLICY = ThresholdPolicy(rule="plateau", score_name="macro_f1", tolerance=0.0)


def scored(splits: str, labels: list[int | None], **scores: list[float]) -> ScoredRows:
    names = {"r": "train", "v": "val", "t": "test"}
    rows = [
        EvaluatedRow(
            row_id=f"{index}",
            video_id=f"video {index}",
            participant_id=None,
            split=names[split],
            question=None,
            duration_ms=1_000,
            label=label,
        )
        for index, (split, label) in enumerate(zip(splits, labels, strict=True))
    ]
    arrays = {name: np.array(values, dtype=float) for name, values in scores.items()}
    return ScoredRows(level="video", rows=rows, scores=arrays)


def record(method: str, score: float | None, average_precision: float | None) -> ThresholdRecord:
    return a_threshold(method, score=score, average_precision=average_precision, chosen=False)


def chosen(records: list[ThresholdRecord], rules: tuple[str, ...]) -> str:
    (rule,) = (row.method for row in choose_rule(records, rules) if row.chosen)
    return rule


def test_the_rows_that_a_threshold_was_chosen_on_are_recorded() -> None:
    rows = scored("vvvtr", [0, 1, None, 1, 0], mean=[0.1, 0.9, 0.5, 0.9, 0.1])
    (record,) = choose_thresholds(rows, POLICY)
    assert record.chosen_on == ("video 0", "video 1")
    assert record.threshold == pytest.approx(0.5)
    assert "2 validation rows" in record.reason


def test_labels_and_predictions_outside_validation_change_no_threshold() -> None:
    one = scored("vvvvtr", [0, 1, 0, 1, 0, 1], mean=[0.1, 0.9, 0.2, 0.6, 0.1, 0.9])
    other = scored("vvvvtr", [0, 1, 0, 1, 1, 0], mean=[0.1, 0.9, 0.2, 0.6, 0.7, 0.3])
    assert choose_thresholds(one, POLICY) == choose_thresholds(other, POLICY)


def test_a_validation_row_without_prediction_is_used_for_no_method() -> None:
    rows = scored("vvv", [0, 1, 1], mean=[0.1, 0.9, np.nan], question=[0.2, 0.3, 0.9])
    for record in choose_thresholds(rows, POLICY):
        assert record.chosen_on == ("video 0", "video 1")


def test_the_majority_baseline_is_never_tuned() -> None:
    rows = scored("vv", [0, 1], constant=[0.8, 0.8])
    (record,) = choose_thresholds(rows, POLICY)
    assert (record.threshold, record.threshold_rule) == (0.5, "fixed")


def test_the_rule_with_the_best_score_is_chosen() -> None:
    records = [record("mean", 0.7, 0.9), record("any", 0.8, 0.1)]
    assert chosen(records, ("mean", "any")) == "any"


def test_equal_scores_are_ranked_by_average_precision_then_by_order() -> None:
    records = [record("mean", 0.8, 0.7), record("any", 0.8, 0.9), record("noisy_or", 0.8, 0.9)]
    assert chosen(records, ("mean", "noisy_or", "any")) == "noisy_or"
    assert chosen(records, ("mean", "any", "noisy_or")) == "any"


def test_a_baseline_is_never_chosen() -> None:
    assert chosen([record("question", 0.99, 1.0), record("any", 0.2, 0.2)], ("any",)) == "any"


def test_without_scores_the_rule_is_the_mean_or_else_the_first() -> None:
    records = [record("any", None, None), record("mean", None, None)]
    assert chosen(records, ("any", "mean")) == "mean"
    assert chosen([replace(records[0])], ("any",)) == "any"


def test_earlier_thresholds_are_adopted_without_score_and_not_for_baselines() -> None:
    mean, top, base = (record(name, None, None) for name in ("mean", "top_k_mean", "duration"))
    thresholds = [
        replace(record("top_k_mean", 0.8, 0.7), threshold=0.3, reason="best on 9", chosen=True),
        replace(record("mean", 0.6, 0.7), threshold=0.4),
        replace(record("duration", 0.6, 0.7), threshold=0.9),
    ]
    earlier = EarlierSelection(report_path="aggregate/abc", thresholds=tuple(thresholds))
    adopted = adopt_earlier([replace(mean, chosen=True), top, base], earlier)
    assert [row.threshold for row in adopted] == [0.4, 0.3, 0.5]
    assert [row.chosen for row in adopted] == [False, True, False]
    assert [row.score for row in adopted] == [None, None, None]
    assert adopted[1].reason.startswith("best on 9, chosen by an earlier run with this model (aggr")


def test_without_an_earlier_selection_this_is_in_the_reason() -> None:
    (row,) = adopt_earlier([replace(record("mean", None, None), reason="0.5, because")], None)
    assert row.threshold == 0.5
    assert row.reason == (
        "0.5, because, and no earlier run in this store chose one for this model and these settings"
    )
