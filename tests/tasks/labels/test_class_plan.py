from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from storage.records import ClassPlanRecord
from tasks.labels.class_plan import (
    ClassRule,
    has_balanced_sampling,
    plan_classes,
    plan_identity,
    weights_of,
)

NATURAL = ClassRule(sampling="natural")
BALANCED = ClassRule(sampling="balanced")
WEIGHTED = ClassRule(class_weights="balanced", sampling="natural")


def in_training(*labels: int | None) -> list[SimpleNamespace]:
    """Return samples with only the fields that a plan reads."""
    return [SimpleNamespace(label=label, in_training=True) for label in labels]


def a_row(label: int, num_samples: int, weight: float, fraction: float, sampling: str):
    return ClassPlanRecord(
        label=label,
        num_samples=num_samples,
        weight=weight,
        draw_fraction=fraction,
        sampling=sampling,
    )


def test_worked_example():
    excluded = [SimpleNamespace(label=label, in_training=False) for label in (0, 1, 1, None)]
    samples = [*in_training(0, 0, 0, 1), *excluded]
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
def test_weights_sum_to_the_number_of_samples_and_equally_over_classes(labels, rng):
    plan = plan_classes(in_training(*labels), WEIGHTED)
    weighted = [row.num_samples * row.weight for row in plan]
    assert sum(weighted) == pytest.approx(len(labels))
    assert weighted == pytest.approx([len(labels) / len(plan)] * len(plan))
    assert sum(row.draw_fraction for row in plan) == pytest.approx(1)
    assert plan_classes(in_training(*rng.sample(labels, len(labels))), WEIGHTED) == plan


def test_plan_is_empty_without_training_samples():
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
def test_identity_of_a_plan_is_what_it_changes(rule, labels, changes):
    plan = plan_classes(in_training(*labels), rule)
    assert plan_identity(plan) == changes
    if changes:
        assert (weights_of(plan), has_balanced_sampling(plan)) == changes


def test_balancing_twice_is_rejected_with_a_remedy():
    with pytest.raises(ValidationError, match="twice: set sampling to natural"):
        ClassRule(class_weights="balanced", sampling="balanced")
    with pytest.raises(ValidationError, match="'natural' or 'balanced'"):
        ClassRule(sampling="some")
