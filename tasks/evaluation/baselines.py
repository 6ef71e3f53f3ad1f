"""Baselines that use neither video, audio nor transcript, reported beside every metric.

`constant`   fraction of positives in train, for every row
`question`   fraction of positives among train rows of the same question
`duration`   fraction of positives among train rows of similar duration: above chance, it means that
             durations leak the label

Fractions of small groups are shrunk towards the overall one, by `_PRIOR_ROWS` pseudo-observations.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence

import numpy as np

from storage.records import SampleRecord
from tasks.evaluation.metrics import Floats
from tasks.evaluation.rows import EvaluatedRow
from tasks.evaluation.thresholds import score_steps

BASELINES = ("constant", "question", "duration")
_PRIOR_ROWS = 1.0
_NUM_DURATION_BINS = 6


def baseline_probabilities(rows: Sequence[EvaluatedRow]) -> dict[str, Floats]:
    """Return each baseline's probability for all rows, fitted on the labeled train rows.

    Empty without labeled train rows; `question` is missing where no train row has a question.
    """
    train = [row for row in rows if row.split == "train" and row.label is not None]
    if not train:
        return {}
    probabilities = {
        "constant": _positive_fractions(rows, train, lambda _: None),
        "duration": _positive_fractions(rows, train, _duration_bin(train)),
    }
    if any(row.question is not None for row in train):
        probabilities["question"] = _positive_fractions(rows, train, lambda row: row.question)
    return {name: probabilities[name] for name in BASELINES if name in probabilities}


def length_only_macro_f1(samples: Sequence[SampleRecord]) -> float | None:
    """Return the macro F1 at which the durations of training segments predict their labels.

    Fitted and measured on the same rows at the best threshold: an upper bound of what a model could
    memorize from durations. ``None`` where the training rows lack a class.
    """
    rows = [
        EvaluatedRow(
            row_id=sample.segment_id,
            video_id=sample.video_id,
            participant_id=sample.participant_id,
            split="train",
            question=None,
            duration_ms=sample.end_ms - sample.start_ms,
            label=sample.label,
        )
        for sample in samples
        if sample.in_training
    ]
    labels = np.array([row.label for row in rows], dtype=float)
    if len(np.unique(labels)) < 2:
        return None
    p_ah = baseline_probabilities(rows)["duration"]
    return float(score_steps(labels, p_ah, "macro_f1").scores.max())


def _positive_fractions(
    rows: Sequence[EvaluatedRow],
    train: Sequence[EvaluatedRow],
    key: Callable[[EvaluatedRow], Hashable],
) -> Floats:
    """Return for every row the fraction of positives among the train rows with the same key."""
    labels: dict[Hashable, list[int]] = defaultdict(list)
    for row in train:
        labels[key(row)].append(row.label or 0)
    overall = sum(row.label or 0 for row in train) / len(train)
    fractions = {
        group: (sum(values) + _PRIOR_ROWS * overall) / (len(values) + _PRIOR_ROWS)
        for group, values in labels.items()
    }
    return np.array([fractions.get(key(row), overall) for row in rows])


def _duration_bin(train: Sequence[EvaluatedRow]) -> Callable[[EvaluatedRow], int]:
    """Return a function that bins durations by quantiles of the train rows."""
    quantiles = np.linspace(0, 1, _NUM_DURATION_BINS + 1)[1:-1]
    edges = np.unique(np.quantile([row.duration_ms for row in train], quantiles))
    return lambda row: int(np.searchsorted(edges, row.duration_ms, side="right"))
