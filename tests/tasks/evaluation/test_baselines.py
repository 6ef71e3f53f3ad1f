import numpy as np
import pytest

from tasks.evaluation.baselines import baseline_probabilities
from tasks.evaluation.rows import EvaluatedRow


def row(
    split: str, label: int | None, question: int | None = None, duration_ms: int = 10_000
) -> EvaluatedRow:
    return EvaluatedRow(
        row_id="r",
        video_id="v",
        participant_id=None,
        split=split,
        question=question,
        duration_ms=duration_ms,
        label=label,
    )


def test_constant_is_the_fraction_of_positives_in_train_for_every_row() -> None:
    rows = [row("train", 1), row("train", 1), row("train", 0), row("test", 0), row("val", None)]
    assert baseline_probabilities(rows)["constant"] == pytest.approx(np.full(5, 2 / 3))


def test_question_is_fitted_to_each_question_on_train_only() -> None:
    train = [row("train", int(q == 4), q) for q in (4, 2) for _ in range(9)]
    others = [row("test", 0, 4), row("test", 1, 2), row("test", 1, 7), row("val", 1, None)]
    probabilities = baseline_probabilities([*train, *others])["question"][-4:]
    assert probabilities == pytest.approx([0.95, 0.05, 0.5, 0.5])


def test_labels_outside_train_do_not_change_the_baselines() -> None:
    train = [row("train", index % 2, index % 3, 1_000 * index) for index in range(12)]
    with_ones = [*train, row("test", 1, 0, 500), row("val", 1, 1, 900)]
    with_zeros = [*train, row("test", 0, 0, 500), row("val", 0, 1, 900)]
    for name, p_ah in baseline_probabilities(with_ones).items():
        assert (p_ah == baseline_probabilities(with_zeros)[name]).all()


def test_duration_predicts_a_label_that_durations_leak() -> None:
    train = [row("train", int(ms < 5_000), None, ms) for ms in (4_100, 4_300, 5_000, 5_000) * 5]
    others = [row("test", 1, None, 4_200), row("test", 0, None, 5_000)]
    probabilities = baseline_probabilities([*train, *others])
    short, full = probabilities["duration"][-2:]
    assert short > 0.85
    assert full < 0.15
    assert "question" not in probabilities


def test_without_labeled_train_rows_there_is_no_baseline() -> None:
    assert baseline_probabilities([row("train", None), row("test", 1)]) == {}
