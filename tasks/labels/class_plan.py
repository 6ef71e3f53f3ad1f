"""Class balance in training: decided on the manifest and recorded in it.

Two ways to compensate for few positives: a larger loss weight, or more frequent sampling. The
balanced weight of a class is N / (K n), for n of the N samples in this one of K classes (King and
Zeng 2001, "Logistic Regression in Rare Events Data"; scikit-learn's `class_weight="balanced"`), so
the weights of all samples sum to N. With balanced sampling, each class has passes of its own: every
sample of it comes once before any is repeated.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, model_validator

from storage.records import ClassPlanRecord, SampleRecord

Plan = Sequence[ClassPlanRecord]


class ClassRule(BaseModel):
    """How training compensates for class imbalance."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    class_weights: Literal["none", "balanced"] = "none"
    """Loss weight of a training sample: 1, or larger for the rarer class."""
    sampling: Literal["natural", "balanced"] = "balanced"
    """Draw training samples as they are, or both classes equally often, repeating the rarer one."""

    @model_validator(mode="after")
    def _balances_once(self) -> "ClassRule":
        if self.class_weights == self.sampling == "balanced":
            raise ValueError(
                "class_weights and sampling are both balanced, which counts the rarer class "
                "twice: set sampling to natural, or class_weights to none"
            )
        return self


def plan_classes(samples: Iterable[SampleRecord], rule: ClassRule) -> tuple[ClassPlanRecord, ...]:
    """Plan every class with training samples; empty without training samples."""
    counts = Counter(sample.label for sample in samples if sample.in_training)
    num_samples, num_classes = counts.total(), len(counts)
    balanced = rule.sampling == "balanced"
    return tuple(
        ClassPlanRecord(
            label=label,
            num_samples=count,
            weight=num_samples / (num_classes * count) if rule.class_weights == "balanced" else 1.0,
            draw_fraction=1 / num_classes if balanced else count / num_samples,
            sampling=rule.sampling,
        )
        for label, count in sorted(counts.items(), key=lambda pair: pair[0] or 0)
        if label is not None
    )


def has_balanced_sampling(plan: Plan) -> bool:
    """Return whether training draws both classes equally often."""
    return any(row.sampling == "balanced" for row in plan)


def weights_of(plan: Plan) -> tuple[float, float]:
    """Return the loss weights of samples labeled 0 and 1."""
    weights = {row.label: row.weight for row in plan}
    return weights.get(0, 1.0), weights.get(1, 1.0)


def plan_identity(plan: Plan) -> tuple[object, ...]:
    """Return the parts of a plan that change training; empty if the plan changes nothing."""
    weights, balanced = weights_of(plan), has_balanced_sampling(plan)
    return (weights, balanced) if balanced or weights != (1.0, 1.0) else ()
