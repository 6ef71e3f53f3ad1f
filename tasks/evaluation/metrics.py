"""Figures of merit of verdicts and probabilities against labels.

A figure that these rows cannot show is undefined, never 0: the F1 of a class that no row has, the
macro F1 and the average precision where only one class is there, anything of no rows. Printed
values come from scikit-learn; the same figures over many resamples or thresholds at once come from
counts, as arrays in which NaN stands for undefined.
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
    """Measure verdicts ``p_ah >= threshold`` against labels of 0 and 1; undefined is ``None``."""
    from sklearn.metrics import accuracy_score, average_precision_score, f1_score  # over a second

    figures: dict[str, float | None] = dict.fromkeys(METRICS)
    if not len(labels):
        return figures
    truth, verdicts = labels.astype(int), (p_ah >= threshold).astype(int)
    f1 = f1_score(truth, verdicts, labels=[0, 1], average=None, zero_division=0)
    counts = np.bincount(truth, minlength=2)
    figures["accuracy"] = float(accuracy_score(truth, verdicts))
    figures["weighted_f1"] = float((f1 * counts).sum() / counts.sum())
    figures["f1_absent"] = float(f1[0]) if counts[0] else None
    figures["f1_present"] = float(f1[1]) if counts[1] else None
    if counts.all():
        figures["macro_f1"] = float(f1.mean())
        figures["average_precision"] = float(average_precision_score(truth, p_ah))
    return figures


def metrics_from_counts(tp: Floats, fp: Floats, fn: Floats, tn: Floats) -> Mapping[str, Floats]:
    """Compute every figure but average precision from arrays of (weighted) confusion counts."""
    positives, negatives = tp + fn, fp + tn
    total = positives + negatives
    f1_present = _share(2 * tp, np.where(positives > 0, 2 * tp + fp + fn, 0))
    f1_absent = _share(2 * tn, np.where(negatives > 0, 2 * tn + fp + fn, 0))
    weighted = np.nan_to_num(f1_present) * positives + np.nan_to_num(f1_absent) * negatives
    return {
        "accuracy": _share(tp + tn, total),
        "macro_f1": (f1_present + f1_absent) / 2,
        "weighted_f1": _share(weighted, total),
        "f1_present": f1_present,
        "f1_absent": f1_absent,
    }


def weighted_average_precision(labels: Floats, p_ah: Floats, weights: Floats) -> Floats:
    """Compute average precision under each of D weightings of N rows, as scikit-learn defines it.

    ``weights`` has the shape [D, N]. It is the sum, over distinct probabilities as they fall, of
    the step in recall times the precision there.
    """
    order = np.argsort(-p_ah, kind="stable")
    last_of_tie = np.append(np.diff(p_ah[order]) != 0, True)
    weights = weights[:, order]
    positive = np.cumsum(weights * labels[order], axis=1)[:, last_of_tie]  # [D, distinct]
    named = np.cumsum(weights, axis=1)[:, last_of_tie]
    steps = np.diff(positive, axis=1, prepend=0.0)
    precision = np.nan_to_num(_share(positive, named))
    num_positive, num_all = positive[:, -1], named[:, -1]
    defined = np.where(num_positive < num_all, num_positive, 0)
    return _share((steps * precision).sum(axis=1), defined)


def _share(part: Floats, whole: Floats) -> Floats:
    """Divide; NaN where the whole is 0."""
    share = np.full(np.broadcast(part, whole).shape, np.nan)
    return np.divide(part, whole, out=share, where=whole > 0)
