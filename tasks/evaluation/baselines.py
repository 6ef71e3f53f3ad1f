"""What can be said without looking or listening: the baselines that every figure stands beside.

`constant`   the share of positives in train, for every row
`question`   the share of positives in train among rows of the same question
`duration`   the same among rows of like duration: a label that can be read off a length is a leak

Shares of few rows are drawn towards the overall share, as if `_PRIOR_ROWS` more rows had shown it.
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
    """Give each baseline's probability for all rows, learnt from the labelled train rows.

    Without labelled train rows there is none; without questions none of `question`.
    """
    seen = [row for row in rows if row.split == "train" and row.label is not None]
    if not seen:
        return {}
    found = {
        "constant": _shares(rows, seen, lambda _: None),
        "duration": _shares(rows, seen, _duration_bin(seen)),
    }
    if any(row.question is not None for row in seen):
        found["question"] = _shares(rows, seen, lambda row: row.question)
    return {name: found[name] for name in BASELINES if name in found}


def length_only_macro_f1(samples: Sequence[SampleRecord]) -> float | None:
    """Measure at what macro F1 the lengths of training segments tell their labels.

    It is measured on the rows it is learnt from, at the threshold that serves it best: what a
    model could learn of lengths by heart. ``None`` where training rows lack one class.
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
    return float(
        score_steps(labels, baseline_probabilities(rows)["duration"], "macro_f1").scores.max()
    )


def _shares(
    rows: Sequence[EvaluatedRow],
    seen: Sequence[EvaluatedRow],
    key: Callable[[EvaluatedRow], Hashable],
) -> Floats:
    """Give every row the share of positives among the seen rows of its own key."""
    labels: dict[Hashable, list[int]] = defaultdict(list)
    for row in seen:
        labels[key(row)].append(row.label or 0)
    overall = sum(row.label or 0 for row in seen) / len(seen)
    shares = {
        group: (sum(values) + _PRIOR_ROWS * overall) / (len(values) + _PRIOR_ROWS)
        for group, values in labels.items()
    }
    return np.array([shares.get(key(row), overall) for row in rows])


def _duration_bin(seen: Sequence[EvaluatedRow]) -> Callable[[EvaluatedRow], int]:
    """Cut durations into bins that hold about equally many of the seen rows."""
    inner = np.linspace(0, 1, _NUM_DURATION_BINS + 1)[1:-1]
    edges = np.unique(np.quantile([row.duration_ms for row in seen], inner))
    return lambda row: int(np.searchsorted(edges, row.duration_ms, side="right"))
