"""Choice of a threshold on probabilities; callers pass validation rows only.

`fixed`       0.5, regardless of the rows
`best`        highest score; among ties, the widest gap between adjacent probabilities
`plateau`     middle of the widest range of thresholds with a near-best score: on few rows the
              highest score is partly chance, a wide range less so
`base_rate`   as many positive verdicts as there are positive rows
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from tasks.evaluation.metrics import Floats, ScoreName, metrics_from_counts

ThresholdRule = Literal["fixed", "best", "plateau", "base_rate"]
FIXED_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdPolicy:
    """How to choose thresholds; scores within ``tolerance`` of the best are near-best."""

    rule: ThresholdRule
    score_name: ScoreName
    tolerance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """A threshold, the range ``(low, high]`` of equivalent ones, and its score on the rows."""

    value: float
    rule: ThresholdRule
    reason: str
    low: float | None = None
    high: float | None = None
    score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreSteps:
    """The score as a function of the threshold: constant on each ``(lows[i], highs[i]]``.

    ``num_positive`` counts the positive verdicts. Thresholds are in ascending order.
    """

    lows: Floats
    highs: Floats
    scores: Floats
    num_positive: Floats

    def score_at(self, threshold: float) -> float:
        """Return the score of verdicts ``p_ah >= threshold``."""
        return float(self.scores[np.searchsorted(self.highs, threshold, side="left")])


def score_steps(labels: Floats, p_ah: Floats, score_name: ScoreName) -> ScoreSteps:
    """Compute the score of every threshold in [0, 1]; requires at least one row."""
    distinct = np.unique(p_ah)
    highs = distinct if distinct[-1] >= 1 else np.append(distinct, 1.0)
    tp = _num_at_least(highs, p_ah[labels > 0])
    fp = _num_at_least(highs, p_ah[labels == 0])
    fn, tn = labels.sum() - tp, (1 - labels).sum() - fp
    return ScoreSteps(
        lows=np.append(0.0, highs[:-1]),
        highs=highs,
        scores=metrics_from_counts(tp, fp, fn, tn)[score_name],
        num_positive=tp + fp,
    )


def _num_at_least(bounds: Floats, p_ah: Floats) -> Floats:
    """Count, for each bound, the probabilities at or above it."""
    return (len(p_ah) - np.searchsorted(np.sort(p_ah), bounds, side="left")).astype(float)


def choose_threshold(labels: Floats, p_ah: Floats, policy: ThresholdPolicy) -> Threshold:
    """Choose a threshold on these rows, or 0.5 with a reason where they lack a class."""
    if len(np.unique(labels)) < 2:
        cause = "validation has only one class" if len(labels) else "validation has no labels"
        return Threshold(value=FIXED_THRESHOLD, rule="fixed", reason=f"0.5, because {cause}")
    steps = score_steps(labels, p_ah, policy.score_name)
    if policy.rule == "fixed":
        return Threshold(
            value=FIXED_THRESHOLD, rule="fixed", reason="0.5, as configured",
            score=steps.score_at(FIXED_THRESHOLD),
        )  # fmt: skip
    low, high = _range(steps, policy, float(labels.sum()))
    value = _between(low, high)
    return Threshold(
        value=value, low=low, high=high, rule=policy.rule, score=steps.score_at(value),
        reason=f"{policy.rule} on {len(labels)} validation rows",
    )  # fmt: skip


def _range(steps: ScoreSteps, policy: ThresholdPolicy, num_positive: float) -> tuple[float, float]:
    best = steps.scores.max()
    if policy.rule == "base_rate":
        error = np.abs(steps.num_positive - num_positive)
        runs = _runs(error == error.min())
    elif policy.rule == "best":
        runs = [(i, i) for i in np.flatnonzero(steps.scores == best)]
    else:
        runs = _runs(steps.scores >= best - policy.tolerance)
    ranges = [(float(steps.lows[first]), float(steps.highs[last])) for first, last in runs]
    return max(ranges, key=lambda bounds: bounds[1] - bounds[0])


def _runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """Return the first and last index of every run of selected steps."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False])).astype(int)))
    return [(int(first), int(end) - 1) for first, end in zip(edges[::2], edges[1::2], strict=True)]


def _between(low: float, high: float) -> float:
    """Return the middle of ``(low, high]``, or ``high`` if no float lies between the two."""
    middle = (low + high) / 2
    return middle if low < middle <= high else high
