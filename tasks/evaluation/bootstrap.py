"""Bootstrap intervals of metrics, resampled by participant.

Videos of one participant are not independent, so participants rather than videos are resampled with
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
    """Number of draws, level of the interval in (0, 1), and seed."""

    draws: int
    level: float
    seed: int


Interval = tuple[float, float] | None
Thresholded = tuple[Floats, float]  # probabilities, and the threshold of their verdicts


def bootstrap_intervals(
    labels: Floats,
    p_ah: Floats,
    threshold: float,
    clusters: Sequence[str],
    bootstrap: BootstrapSettings,
) -> dict[str, Interval]:
    """Return each metric's percentile interval; equal clusters and seed draw equal resamples.

    ``None`` where there are fewer than two clusters, or where the metric is undefined in more than
    half of the draws.
    """
    blocks = [
        _metrics(labels, p_ah, threshold, weights) for weights in _iter_weights(clusters, bootstrap)
    ]
    return _intervals(blocks, bootstrap)


def bootstrap_difference(
    labels: Floats,
    first: Thresholded,
    second: Thresholded,
    clusters: Sequence[str],
    bootstrap: BootstrapSettings,
) -> dict[str, Interval]:
    """Return the percentile interval of each metric's difference, first minus second.

    Paired: both are measured on the same draws of the same rows. ``None`` as in
    `bootstrap_intervals`.
    """
    blocks = []
    for weights in _iter_weights(clusters, bootstrap):
        ours, theirs = (_metrics(labels, *scores, weights) for scores in (first, second))
        blocks.append({name: ours[name] - theirs[name] for name in METRICS})
    return _intervals(blocks, bootstrap)


def _iter_weights(clusters: Sequence[str], bootstrap: BootstrapSettings) -> Iterator[Floats]:
    """Yield how often each row is sampled, [draws, rows], in blocks that bound memory.

    Yields nothing for fewer than two clusters.
    """
    names, cluster_index = np.unique(np.array(clusters, dtype=str), return_inverse=True)
    if len(names) < 2:
        return
    generator = np.random.default_rng(bootstrap.seed)
    uniform = np.full(len(names), 1 / len(names))
    counts = generator.multinomial(len(names), uniform, size=bootstrap.draws)  # [draws, clusters]
    block = max(1, _BLOCK_CELLS // len(clusters))
    for start in range(0, bootstrap.draws, block):
        yield counts[start : start + block, cluster_index].astype(float)


def _intervals(
    blocks: Sequence[Mapping[str, Floats]], bootstrap: BootstrapSettings
) -> dict[str, Interval]:
    if not blocks:
        return dict.fromkeys(METRICS)
    return {
        name: _interval(np.concatenate([block[name] for block in blocks]), bootstrap.level)
        for name in METRICS
    }


def _metrics(labels: Floats, p_ah: Floats, threshold: float, weights: Floats) -> dict[str, Floats]:
    """Compute all metrics under each row of ``weights``, [draws, rows]."""
    positive, predicted = labels > 0, p_ah >= threshold
    tp, fp, fn, tn = (
        weights @ (truth & verdict).astype(float)
        for truth, verdict in (
            (positive, predicted), (~positive, predicted),
            (positive, ~predicted), (~positive, ~predicted),
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
