"""How much each class counts in training: decided on the manifest, recorded in it, kept to.

Two ways to make up for few positives: to weigh their loss more, or to draw them more often. The
balanced weight of a class is N / (K n), with n of the N samples in this one of K classes (King and
Zeng 2001, "Logistic Regression in Rare Events Data"; scikit-learn's `class_weight="balanced"`), so
that the weights of all samples sum to N. Drawn equally, each class comes in passes of its own:
every sample of it once before any comes again.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, model_validator

from storage.records import ClassPlanRecord, SampleRecord

Plan = Sequence[ClassPlanRecord]


class ClassRule(BaseModel):
    """How training makes up for a rarer class."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    class_weights: Literal["none", "balanced"] = "none"
    """Weight of a sample's loss in training: 1, or more for the rarer class."""
    sampling: Literal["natural", "balanced"] = "balanced"
    """Draw training samples as they are, or both classes equally often, repeating the rarer one."""

    @model_validator(mode="after")
    def _balances_once(self) -> "ClassRule":
        if self.class_weights == self.sampling == "balanced":
            raise ValueError(
                "class_weights and sampling are both balanced, which would make the rarer class "
                "count twice over: set sampling to natural, or class_weights to none"
            )
        return self


def plan_classes(samples: Iterable[SampleRecord], rule: ClassRule) -> tuple[ClassPlanRecord, ...]:
    """Plan each class that is in training; there is no plan where nothing is."""
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


def draws_equally(plan: Plan) -> bool:
    """Say whether training draws both classes equally often."""
    return any(row.sampling == "balanced" for row in plan)


def weights_of(plan: Plan) -> tuple[float, float]:
    """Give the weight of a sample's loss by its label, 0 and 1."""
    weights = {row.label: row.weight for row in plan}
    return weights.get(0, 1.0), weights.get(1, 1.0)


def what_changes(plan: Plan) -> tuple[object, ...]:
    """Give what a plan changes in a training; empty for the plan that changes nothing."""
    weights, balanced = weights_of(plan), draws_equally(plan)
    return (weights, balanced) if balanced or weights != (1.0, 1.0) else ()
