"""Intervals of figures by resampling participants.

A participant's videos stand or fall together, so participants, not videos, are drawn with
replacement (cluster bootstrap, percentile intervals: Davison and Hinkley 1997, section 3.8).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tasks.evaluation.metrics import (
    METRICS,
    Floats,
    metrics_from_counts,
    weighted_average_precision,
)

_BLOCK_CELLS = 2_000_000
_MIN_DEFINED_FRACTION = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class BootstrapSettings:
    """How many draws, the level of the interval in (0, 1), and the seed of the draws."""

    draws: int
    level: float
    seed: int


Interval = tuple[float, float] | None
Thresholded = tuple[Floats, float]  # probabilities and the threshold that makes verdicts of them


def bootstrap_intervals(
    labels: Floats,
    p_ah: Floats,
    threshold: float,
    clusters: Sequence[str],
    bootstrap: BootstrapSettings,
) -> dict[str, Interval]:
    """Give each figure's percentile interval; the same rows get the same draws for every method.

    ``None`` where there are fewer than two participants, or the figure is undefined in more than
    half of the draws.
    """
    figures = [
        _figures(labels, p_ah, threshold, weights) for weights in _iter_weights(clusters, bootstrap)
    ]
    return _intervals(figures, bootstrap)


def bootstrap_difference(
    labels: Floats,
    first: Thresholded,
    second: Thresholded,
    clusters: Sequence[str],
    bootstrap: BootstrapSettings,
) -> dict[str, Interval]:
    """Give the percentile interval of each figure of the first less that of the second.

    Both are measured on the same draws of the same rows, so that what is hard for both cancels out.
    ``None`` as in `resample`.
    """
    figures = []
    for weights in _iter_weights(clusters, bootstrap):
        ours, theirs = (_figures(labels, *judged, weights) for judged in (first, second))
        figures.append({name: ours[name] - theirs[name] for name in METRICS})
    return _intervals(figures, bootstrap)


def _iter_weights(clusters: Sequence[str], bootstrap: BootstrapSettings) -> Iterator[Floats]:
    """Draw participants, a block of draws at a time; how often each row counts, [draws, rows].

    Nothing is drawn of fewer than two.
    """
    names, cluster_index = np.unique(np.array(clusters, dtype=str), return_inverse=True)
    if len(names) < 2:
        return
    generator = np.random.default_rng(bootstrap.seed)
    share = np.full(len(names), 1 / len(names))
    drawn = generator.multinomial(len(names), share, size=bootstrap.draws)  # [draws, clusters]
    block = max(1, _BLOCK_CELLS // len(clusters))
    for start in range(0, bootstrap.draws, block):
        yield drawn[start : start + block, cluster_index].astype(float)


def _intervals(
    figures: Sequence[Mapping[str, Floats]], bootstrap: BootstrapSettings
) -> dict[str, Interval]:
    if not figures:
        return dict.fromkeys(METRICS)
    return {
        name: _interval(np.concatenate([part[name] for part in figures]), bootstrap.level)
        for name in METRICS
    }


def _figures(labels: Floats, p_ah: Floats, threshold: float, weights: Floats) -> dict[str, Floats]:
    """Compute all figures under each of the weightings, [draws, rows]."""
    positive, named = labels > 0, p_ah >= threshold
    tp, fp, fn, tn = (
        weights @ (truth & verdict).astype(float)
        for truth, verdict in (
            (positive, named), (~positive, named), (positive, ~named), (~positive, ~named),
        )
    )  # fmt: skip
    return {
        **metrics_from_counts(tp, fp, fn, tn),
        "average_precision": weighted_average_precision(labels, p_ah, weights),
    }


def _interval(draws: Floats, level: float) -> Interval:
    defined = draws[~np.isnan(draws)]
    if len(defined) < _MIN_DEFINED_FRACTION * len(draws):
        return None
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
