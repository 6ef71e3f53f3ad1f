"""A threshold on probabilities, chosen on the rows it is given: validation rows and no others.

`fixed`       0.5, whatever the rows say
`best`        the highest score; of equals, the widest gap between neighbouring probabilities
`plateau`     the middle of the widest run of thresholds whose score is near the best: a highest
              score on few rows is partly luck, a wide run less so
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
    """How thresholds are chosen; ``tolerance`` is how far below the best score counts as near."""

    rule: ThresholdRule
    score_name: ScoreName
    tolerance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """A threshold, the range ``(low, high]`` it stands for, and its score on the rows given."""

    value: float
    rule: ThresholdRule
    reason: str
    low: float | None = None
    high: float | None = None
    score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreSteps:
    """The score as a function of the threshold: constant on each ``(lows[i], highs[i]]``.

    ``num_positive`` counts the positive verdicts there. Thresholds rise with i.
    """

    lows: Floats
    highs: Floats
    scores: Floats
    num_positive: Floats

    def score_at(self, threshold: float) -> float:
        """Give the score of verdicts ``p_ah >= threshold``."""
        return float(self.scores[np.searchsorted(self.highs, threshold, side="left")])


def score_steps(labels: Floats, p_ah: Floats, score_name: ScoreName) -> ScoreSteps:
    """Lay out the score for every threshold in [0, 1]; needs at least one row."""
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
    """Count, for each bound, the probabilities that reach it."""
    return (len(p_ah) - np.searchsorted(np.sort(p_ah), bounds, side="left")).astype(float)


def choose_threshold(labels: Floats, p_ah: Floats, policy: ThresholdPolicy) -> Threshold:
    """Choose a threshold on these rows; without both classes it is 0.5 and the reason says why."""
    if len(np.unique(labels)) < 2:
        why = "validation holds one class only" if len(labels) else "no validation row is labelled"
        return Threshold(value=FIXED_THRESHOLD, rule="fixed", reason=f"0.5, because {why}")
    steps = score_steps(labels, p_ah, policy.score_name)
    if policy.rule == "fixed":
        return Threshold(
            value=FIXED_THRESHOLD, rule="fixed", reason="0.5, as set",
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
        off = np.abs(steps.num_positive - num_positive)
        runs = _runs(off == off.min())
    elif policy.rule == "best":
        runs = [(i, i) for i in np.flatnonzero(steps.scores == best)]
    else:
        runs = _runs(steps.scores >= best - policy.tolerance)
    ranges = [(float(steps.lows[first]), float(steps.highs[last])) for first, last in runs]
    return max(ranges, key=lambda bounds: bounds[1] - bounds[0])


def _runs(marked: np.ndarray) -> list[tuple[int, int]]:
    """List the first and last index of every run of marked steps."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], marked, [False])).astype(int)))
    return [(int(first), int(end) - 1) for first, end in zip(edges[::2], edges[1::2], strict=True)]


def _between(low: float, high: float) -> float:
    """Take the middle of ``(low, high]``, also where no number lies between the two."""
    middle = (low + high) / 2
    return middle if low < middle <= high else high
