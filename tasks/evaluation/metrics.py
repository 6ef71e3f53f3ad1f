"""Metrics of verdicts and probabilities against labels.

A metric that the rows do not determine is undefined, never 0: the F1 of a class without rows, macro
F1 and average precision with a single class, and everything without rows. Reported values come from
scikit-learn; over many resamples or thresholds at once, metrics are computed from confusion counts,
as arrays in which NaN means undefined.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
ScoreName = Literal["accuracy", "macro_f1", "weighted_f1", "f1_present"]
METRICS = (
    "macro_f1", "accuracy", "weighted_f1", "f1_present", "f1_absent", "average_precision",
)  # fmt: skip


def compute_metrics(labels: Floats, p_ah: Floats, threshold: float) -> dict[str, float | None]:
    """Compute the metrics of verdicts ``p_ah >= threshold``; ``None`` means undefined."""
    from sklearn.metrics import (  # importing it takes over a second
        accuracy_score,
        average_precision_score,
        f1_score,
    )

    metrics: dict[str, float | None] = dict.fromkeys(METRICS)
    if not len(labels):
        return metrics
    truth, verdicts = labels.astype(int), (p_ah >= threshold).astype(int)
    f1 = f1_score(truth, verdicts, labels=[0, 1], average=None, zero_division=0)
    counts = np.bincount(truth, minlength=2)
    metrics["accuracy"] = float(accuracy_score(truth, verdicts))
    metrics["weighted_f1"] = float((f1 * counts).sum() / counts.sum())
    metrics["f1_absent"] = float(f1[0]) if counts[0] else None
    metrics["f1_present"] = float(f1[1]) if counts[1] else None
    if counts.all():
        metrics["macro_f1"] = float(f1.mean())
        metrics["average_precision"] = float(average_precision_score(truth, p_ah))
    return metrics


def metrics_from_counts(tp: Floats, fp: Floats, fn: Floats, tn: Floats) -> Mapping[str, Floats]:
    """Compute every metric except average precision from (weighted) confusion counts."""
    positives, negatives = tp + fn, fp + tn
    total = positives + negatives
    f1_present = _ratio(2 * tp, np.where(positives > 0, 2 * tp + fp + fn, 0))
    f1_absent = _ratio(2 * tn, np.where(negatives > 0, 2 * tn + fp + fn, 0))
    weighted = np.nan_to_num(f1_present) * positives + np.nan_to_num(f1_absent) * negatives
    return {
        "accuracy": _ratio(tp + tn, total),
        "macro_f1": (f1_present + f1_absent) / 2,
        "weighted_f1": _ratio(weighted, total),
        "f1_present": f1_present,
        "f1_absent": f1_absent,
    }


def weighted_average_precision(labels: Floats, p_ah: Floats, weights: Floats) -> Floats:
    """Compute average precision under each of D weightings of N rows; ``weights`` is [D, N].

    As in scikit-learn: the sum over distinct probabilities, in descending order, of the increase in
    recall times the precision.
    """
    order = np.argsort(-p_ah, kind="stable")
    last_of_tie = np.append(np.diff(p_ah[order]) != 0, True)
    weights = weights[:, order]
    positive = np.cumsum(weights * labels[order], axis=1)[:, last_of_tie]  # [D, distinct]
    predicted = np.cumsum(weights, axis=1)[:, last_of_tie]
    steps = np.diff(positive, axis=1, prepend=0.0)
    precision = np.nan_to_num(_ratio(positive, predicted))
    num_positive, num_all = positive[:, -1], predicted[:, -1]
    defined = np.where(num_positive < num_all, num_positive, 0)
    return _ratio((steps * precision).sum(axis=1), defined)


def _ratio(part: Floats, whole: Floats) -> Floats:
    """Divide; NaN where the whole is 0."""
    ratio = np.full(np.broadcast(part, whole).shape, np.nan)
    return np.divide(part, whole, out=ratio, where=whole > 0)
