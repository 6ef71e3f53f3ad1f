"""When a training has gone wrong for good: its loss is no number, or grows far above its start."""

import math
from collections.abc import Sequence
from statistics import fmean

from storage.errors import StageError
from storage.results import TrainingStepRecord

_WINDOW = 20  # steps, so that one hard batch stops nothing
_TIMES = 3.0
_CHANCE = math.log(2)  # a good start may have less, and lose it to noise
_WAY_OUT = (
    "Lower finetune.learning_rate, raise finetune.warmup_steps, or use precision float32; and "
    "remove the training's checkpoints, if it was stopped and went on."
)


def check_finite(step: int, *, loss: float, grad_norm: float, rate: float) -> None:
    """Refuse a step whose loss or gradients are no numbers, before a checkpoint holds it.

    Raises:
        StageError: names the step and the way out.
    """
    if math.isfinite(loss) and math.isfinite(grad_norm):
        return
    raise StageError(
        f"Training diverged at step {step}: the loss is {loss} and the gradients' norm {grad_norm} "
        f"at a learning rate of {rate:.2g}. {_WAY_OUT}"
    )


def check_measured(losses: Sequence[float]) -> None:
    """Refuse a model that gives validation samples losses that are no numbers.

    Raises:
        StageError: says how many, and the way out.
    """
    if wrong := sum(not math.isfinite(loss) for loss in losses):
        raise StageError(
            f"Training diverged: the loss of {wrong} of {len(losses)} validation samples is no "
            f"number. {_WAY_OUT}"
        )


def check_trend(log: Sequence[TrainingStepRecord]) -> None:
    """Refuse to go on where the last steps' mean loss is thrice that of the first, or of chance.

    Raises:
        StageError: names the step, both means and the way out.
    """
    if len(log) < 2 * _WINDOW:
        return
    first = fmean(row.loss for row in log[:_WINDOW])
    last = fmean(row.loss for row in log[-_WINDOW:])
    if last <= _TIMES * max(first, _CHANCE):
        return
    raise StageError(
        f"Training diverges: the mean loss of the {_WINDOW} steps up to step {log[-1].step} is "
        f"{last:.3g}, and that of the first {_WINDOW} was {first:.3g}. {_WAY_OUT}"
    )
