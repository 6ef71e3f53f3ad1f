import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from tasks.evaluation.thresholds import (
    FIXED_THRESHOLD,
    ThresholdPolicy,
    choose_threshold,
    score_steps,
)

MODEST = settings(deadline=None, max_examples=40)
RULES = ("fixed", "best", "plateau", "base_rate")
rows = st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), min_size=2, max_size=25)


def policy(rule: str = "plateau", tolerance: float = 0.0) -> ThresholdPolicy:
    return ThresholdPolicy(rule=rule, score_name="macro_f1", tolerance=tolerance)


def arrays(rows: list[tuple[int, float]]) -> tuple[np.ndarray, np.ndarray]:
    labels, p_ah = np.array(rows, dtype=float).T
    assume(0 < labels.sum() < len(labels))
    return labels, p_ah


def macro_f1(labels: np.ndarray, p_ah: np.ndarray, threshold: float) -> float:
    return f1_score(labels, p_ah >= threshold, average="macro", zero_division=0)


@MODEST
@given(rows=rows, threshold=st.floats(0, 1))
def test_the_score_steps_equal_scikit_learn(
    rows: list[tuple[int, float]], threshold: float
) -> None:
    labels, p_ah = arrays(rows)
    steps = score_steps(labels, p_ah, "macro_f1")
    assert steps.score_at(threshold) == pytest.approx(macro_f1(labels, p_ah, threshold))


@MODEST
@given(rows=rows)
def test_score_steps_cover_all_thresholds_without_gap(rows: list[tuple[int, float]]) -> None:
    labels, p_ah = arrays(rows)
    steps = score_steps(labels, p_ah, "macro_f1")
    assert steps.lows[0] == 0
    assert steps.highs[-1] == 1
    assert (steps.lows[1:] == steps.highs[:-1]).all()


@MODEST
@given(rows=rows)
def test_best_is_as_good_as_any_threshold_tried(rows: list[tuple[int, float]]) -> None:
    labels, p_ah = arrays(rows)
    threshold = choose_threshold(labels, p_ah, policy("best"))
    tried = [macro_f1(labels, p_ah, t) for t in (*p_ah, 0.0, 0.5, 1.0)]
    assert macro_f1(labels, p_ah, threshold.value) >= max(tried) - 1e-12


@MODEST
@given(rows=rows, tolerance=st.floats(0, 0.5))
def test_a_plateau_threshold_is_near_best_and_so_is_its_whole_range(
    rows: list[tuple[int, float]], tolerance: float
) -> None:
    labels, p_ah = arrays(rows)
    best = choose_threshold(labels, p_ah, policy("best"))
    plateau = choose_threshold(labels, p_ah, policy("plateau", tolerance))
    assert best.score is not None
    for value in (plateau.value, plateau.high, np.nextafter(plateau.low, 2)):
        if plateau.low < value <= plateau.high:
            assert macro_f1(labels, p_ah, value) >= best.score - tolerance - 1e-12
    assert plateau.low <= plateau.value <= plateau.high


@MODEST
@given(rows=rows, tolerance=st.floats(0, 0.5))
def test_no_other_range_of_near_best_thresholds_is_wider(
    rows: list[tuple[int, float]], tolerance: float
) -> None:
    labels, p_ah = arrays(rows)
    steps = score_steps(labels, p_ah, "macro_f1")
    plateau = choose_threshold(labels, p_ah, policy("plateau", tolerance))
    width, widest = 0.0, 0.0
    for low, high, score in zip(steps.lows, steps.highs, steps.scores, strict=True):
        width = width + high - low if score >= steps.scores.max() - tolerance else 0.0
        widest = max(widest, width)
    assert plateau.high - plateau.low == pytest.approx(widest)


def test_a_plateau_is_preferred_to_a_lucky_peak() -> None:
    low, high = np.linspace(0.01, 0.60, 10), np.linspace(0.95, 0.99, 10)
    p_ah = np.concatenate([low, [0.61], high])
    labels = np.array([0] * 10 + [1] * 11, dtype=float)
    peak = choose_threshold(labels, p_ah, policy("best"))
    plateau = choose_threshold(labels, p_ah, policy("plateau", 0.06))
    assert (peak.low, peak.high) == (0.60, 0.61)
    assert plateau.high == 0.95
    assert plateau.low <= 0.60
    assert plateau.value > 0.7


@MODEST
@given(rows=rows)
def test_base_rate_yields_as_many_positive_verdicts_as_labels_without_ties(
    rows: list[tuple[int, float]],
) -> None:
    labels, p_ah = arrays(rows)
    assume(len(set(p_ah)) == len(p_ah))
    threshold = choose_threshold(labels, p_ah, policy("base_rate"))
    assert (p_ah >= threshold.value).sum() == labels.sum()


@MODEST
@given(rows=rows, rule=st.sampled_from(RULES))
def test_the_reported_score_is_the_score_at_the_threshold(
    rows: list[tuple[int, float]], rule: str
) -> None:
    labels, p_ah = arrays(rows)
    threshold = choose_threshold(labels, p_ah, policy(rule, 0.1))
    assert threshold.score == pytest.approx(macro_f1(labels, p_ah, threshold.value))
    assert 0 <= threshold.value <= 1


def test_fixed_does_not_depend_on_the_rows() -> None:
    threshold = choose_threshold(np.array([0.0, 1.0]), np.array([0.8, 0.9]), policy("fixed"))
    assert threshold.value == FIXED_THRESHOLD
    assert threshold.score == pytest.approx(macro_f1([0, 1], np.array([0.8, 0.9]), 0.5))


@pytest.mark.parametrize(
    ("labels", "reason"), [([], "validation has no labels"), ([1, 1], "only one class")]
)
def test_with_one_class_the_threshold_is_fixed_with_a_reason(
    labels: list[int], reason: str
) -> None:
    threshold = choose_threshold(np.array(labels, dtype=float), np.ones(len(labels)), policy())
    assert (threshold.value, threshold.score) == (FIXED_THRESHOLD, None)
    assert reason in threshold.reason


def test_adjacent_floats_are_separated() -> None:
    high = np.nextafter(1.0, 0)
    threshold = choose_threshold(np.array([0.0, 1.0]), np.array([high, 1.0]), policy())
    assert threshold.value == 1.0
    assert threshold.score == 1.0
