"""Intervals of figures by resampling participants.

A participant's videos stand or fall together, so participants, not videos, are drawn with
replacement (cluster bootstrap, percentile intervals: Davison and Hinkley 1997, section 3.8).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tasks.verdicts.metrics import (
    METRIC_NAMES,
    Floats,
    from_counts,
    weighted_average_precision,
)

_BLOCK_CELLS = 2_000_000
_MIN_DEFINED_SHARE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Resampling:
    """How many draws, the level of the interval in (0, 1), and the seed of the draws."""

    draws: int
    level: float
    seed: int


Interval = tuple[float, float] | None


def resample(
    labels: Floats, p_ah: Floats, threshold: float, clusters: Sequence[str], resampling: Resampling
) -> dict[str, Interval]:
    """Give each figure's percentile interval; the same rows get the same draws for every method.

    ``None`` where there are fewer than two participants, or the figure is undefined in more than
    half of the draws.
    """
    names, cluster_index = np.unique(np.array(clusters, dtype=str), return_inverse=True)
    if len(names) < 2:
        return dict.fromkeys(METRIC_NAMES)
    generator = np.random.default_rng(resampling.seed)
    share = np.full(len(names), 1 / len(names))
    drawn = generator.multinomial(len(names), share, size=resampling.draws)  # [draws, clusters]
    block = max(1, _BLOCK_CELLS // len(labels))
    figures = [
        _figures(labels, p_ah, threshold, drawn[start : start + block, cluster_index].astype(float))
        for start in range(0, resampling.draws, block)
    ]
    return {
        name: _interval(np.concatenate([part[name] for part in figures]), resampling.level)
        for name in METRIC_NAMES
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
        **from_counts(tp, fp, fn, tn),
        "average_precision": weighted_average_precision(labels, p_ah, weights),
    }


def _interval(draws: Floats, level: float) -> Interval:
    defined = draws[~np.isnan(draws)]
    if len(defined) < _MIN_DEFINED_SHARE * len(draws):
        return None
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
