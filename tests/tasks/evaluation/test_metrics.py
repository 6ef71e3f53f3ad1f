import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, average_precision_score, f1_score

from tasks.evaluation.metrics import (
    METRICS,
    compute_metrics,
    metrics_from_counts,
    weighted_average_precision,
)

MODEST = settings(deadline=None, max_examples=40)
rows = st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), min_size=1, max_size=25)


def counts(labels: np.ndarray, verdicts: np.ndarray) -> list[np.ndarray]:
    pairs = ((1, 1), (0, 1), (1, 0), (0, 0))
    return [
        np.array([((labels == label) & (verdicts == verdict)).sum()], dtype=float)
        for label, verdict in pairs
    ]


@MODEST
@given(rows=rows, threshold=st.floats(0, 1))
def test_metrics_equal_those_of_scikit_learn_with_both_classes(
    rows: list[tuple[int, float]], threshold: float
) -> None:
    labels, p_ah = np.array(rows, dtype=float).T
    assume(0 < labels.sum() < len(labels))
    verdicts = p_ah >= threshold
    assert compute_metrics(labels, p_ah, threshold) == pytest.approx(
        {
            "macro_f1": f1_score(labels, verdicts, average="macro", zero_division=0),
            "accuracy": accuracy_score(labels, verdicts),
            "weighted_f1": f1_score(labels, verdicts, average="weighted", zero_division=0),
            "f1_present": f1_score(labels, verdicts, pos_label=1, zero_division=0),
            "f1_absent": f1_score(labels, verdicts, pos_label=0, zero_division=0),
            "average_precision": average_precision_score(labels, p_ah),
        }
    )


@MODEST
@given(rows=rows, threshold=st.floats(0, 1))
def test_metrics_from_counts_equal_metrics_from_rows(
    rows: list[tuple[int, float]], threshold: float
) -> None:
    labels, p_ah = np.array(rows, dtype=float).T
    measured = compute_metrics(labels, p_ah, threshold)
    for name, values in metrics_from_counts(*counts(labels, p_ah >= threshold)).items():
        expected = np.nan if measured[name] is None else measured[name]
        assert values[0] == pytest.approx(expected, nan_ok=True)


@MODEST
@given(rows=rows, data=st.data())
def test_weighted_average_precision_equals_that_of_scikit_learn(
    rows: list[tuple[int, float]], data: st.DataObject
) -> None:
    labels, p_ah = np.array(rows, dtype=float).T
    number = st.integers(0, 4)
    weights = np.array(data.draw(st.lists(number, min_size=len(rows), max_size=len(rows))))
    assume(0 < (weights * labels).sum() < weights.sum())
    (value,) = weighted_average_precision(labels, p_ah, weights[None, :].astype(float))
    assert value == pytest.approx(average_precision_score(labels, p_ah, sample_weight=weights))


def test_ties_count_as_one_step_of_average_precision() -> None:
    labels, p_ah = np.array([1.0, 0.0, 1.0, 0.0]), np.array([0.7, 0.7, 0.7, 0.1])
    (value,) = weighted_average_precision(labels, p_ah, np.ones((1, 4)))
    assert value == pytest.approx(2 / 3)


def test_metrics_of_a_missing_class_are_undefined_not_zero() -> None:
    metrics = compute_metrics(np.ones(3), np.array([0.9, 0.8, 0.1]), 0.5)
    assert metrics["accuracy"] == pytest.approx(2 / 3)
    assert metrics["f1_present"] == pytest.approx(0.8)
    undefined = {name for name, value in metrics.items() if value is None}
    assert undefined == {"macro_f1", "f1_absent", "average_precision"}


def test_without_rows_all_metrics_are_undefined() -> None:
    assert compute_metrics(np.array([]), np.array([]), 0.5) == dict.fromkeys(METRICS)


def test_f1_of_a_class_that_is_never_predicted_is_zero_not_undefined() -> None:
    metrics = compute_metrics(np.array([1.0, 0.0]), np.array([0.1, 0.2]), 0.5)
    assert metrics["f1_present"] == 0.0
    assert metrics["macro_f1"] == pytest.approx(1 / 3)
