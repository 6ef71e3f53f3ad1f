"""Rates of work, from the journal: what an item or an hour of video costs each stage.

A run costs a fixed amount, such as opening a model, and an amount for each unit of work. Where the
runs differ enough in size, both are fitted by least squares; otherwise the whole cost counts as
proportional, which overestimates large runs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from storage.store.journal import StageRun

HOUR_MS = 3_600_000
NUM_RUNS = 20  # of a stage: the newest ones, as settings and hosts change
_MIN_SPREAD = 2.0  # largest over smallest amount of work of runs that a line is fitted to

Measure = Callable[[StageRun], float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A cost: ``fixed`` for a run, and ``per_unit`` of work; ``num_runs`` were measured."""

    fixed: float
    per_unit: float
    num_runs: int

    def cost_of(self, amount: float) -> float:
        """Return the cost of one run with this amount of work; nothing costs nothing."""
        return self.fixed + self.per_unit * amount if amount > 0 else 0.0


def hours_of(run: StageRun) -> float:
    """Return the hours of video that a run worked on."""
    return run.video_ms / HOUR_MS


def items_of(run: StageRun) -> float:
    """Return the number of items that a run computed."""
    return run.num_computed


def fit_rate(runs: Sequence[StageRun], amount_of: Measure, cost_of: Measure) -> Rate | None:
    """Fit a rate to runs; ``None`` if none of them has both an amount of work and a cost."""
    measured = [(amount_of(run), cost_of(run)) for run in runs]
    points = [(amount, cost) for amount, cost in measured if amount and cost is not None]
    if not points:
        return None
    amounts, costs = (np.array(values, float) for values in zip(*points, strict=True))
    proportional = Rate(
        fixed=0.0, per_unit=float(costs.sum() / amounts.sum()), num_runs=len(points)
    )
    if amounts.max() < _MIN_SPREAD * amounts.min():
        return proportional
    per_unit, fixed = np.polyfit(amounts, costs, 1)
    if per_unit <= 0 or fixed <= 0:
        return proportional
    return Rate(fixed=float(fixed), per_unit=float(per_unit), num_runs=len(points))


def runs_of(runs: Sequence[StageRun], stage: str, variant_id: str | None) -> list[StageRun]:
    """Return the newest runs of a variant; of the stage's other variants if it has none.

    Means of an ensemble, which cost next to nothing, count only for their own variant.
    """
    of_stage = [run for run in runs if run.stage == stage]
    own = [run for run in of_stage if run.variant_id == variant_id]
    return (own or [run for run in of_stage if run.video_ms])[:NUM_RUNS]
