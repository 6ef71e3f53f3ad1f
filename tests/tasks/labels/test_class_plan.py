from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from storage.records import ClassPlanRecord
from tasks.labels.class_plan import ClassRule, draws_equally, plan_classes, weights_of, what_changes

NATURAL = ClassRule(sampling="natural")
BALANCED = ClassRule(sampling="balanced")
WEIGHTED = ClassRule(class_weights="balanced", sampling="natural")


def in_training(*labels: int | None) -> list[SimpleNamespace]:
    """Samples as far as a plan looks at them."""
    return [SimpleNamespace(label=label, in_training=True) for label in labels]


def a_row(label: int, num_samples: int, weight: float, share: float, sampling: str):
    return ClassPlanRecord(
        label=label, num_samples=num_samples, weight=weight, draw_fraction=share, sampling=sampling
    )


def test_a_plan_by_hand():
    left_out = [SimpleNamespace(label=label, in_training=False) for label in (0, 1, 1, None)]
    samples = [*in_training(0, 0, 0, 1), *left_out]
    assert plan_classes(samples, NATURAL) == (
        a_row(0, 3, 1.0, 0.75, "natural"), a_row(1, 1, 1.0, 0.25, "natural"),
    )  # fmt: skip
    assert plan_classes(samples, BALANCED) == (
        a_row(0, 3, 1.0, 0.5, "balanced"), a_row(1, 1, 1.0, 0.5, "balanced"),
    )  # fmt: skip
    assert plan_classes(samples, WEIGHTED) == (
        a_row(0, 3, 4 / 6, 0.75, "natural"), a_row(1, 1, 2.0, 0.25, "natural"),
    )  # fmt: skip


@given(st.lists(st.integers(0, 1), min_size=1, max_size=50), st.randoms(use_true_random=False))
def test_weights_sum_to_the_samples_and_to_the_same_in_both_classes(labels, dice):
    plan = plan_classes(in_training(*labels), WEIGHTED)
    weighed = [row.num_samples * row.weight for row in plan]
    assert sum(weighed) == pytest.approx(len(labels))
    assert weighed == pytest.approx([len(labels) / len(plan)] * len(plan))
    assert sum(row.draw_fraction for row in plan) == pytest.approx(1)
    assert plan_classes(in_training(*dice.sample(labels, len(labels))), WEIGHTED) == plan


def test_where_nothing_trains_there_is_no_plan():
    assert plan_classes([], BALANCED) == ()
    assert plan_classes([SimpleNamespace(label=1, in_training=False)], BALANCED) == ()


@pytest.mark.parametrize(
    ("rule", "labels", "changes"),
    [
        (NATURAL, (0, 0, 1), ()),
        (WEIGHTED, (0, 1), ()),
        (WEIGHTED, (0, 0, 1, 0), ((4 / 6, 2.0), False)),
        (BALANCED, (0, 1, 1), ((1.0, 1.0), True)),
    ],
)
def test_what_a_plan_changes_in_training(rule, labels, changes):
    plan = plan_classes(in_training(*labels), rule)
    assert what_changes(plan) == changes
    if changes:
        assert (weights_of(plan), draws_equally(plan)) == changes


def test_what_balances_twice_is_refused_with_the_way_out():
    with pytest.raises(ValidationError, match="twice over: set sampling to natural"):
        ClassRule(class_weights="balanced", sampling="balanced")
    with pytest.raises(ValidationError, match="'natural' or 'balanced'"):
        ClassRule(sampling="some")
