"""Detection of diverged training: non-finite losses, or a loss far above its initial level."""

import math
from collections.abc import Sequence
from statistics import fmean

from storage.errors import StageError
from storage.results import TrainingStepRecord

_WINDOW = 20  # steps; averaged, since a single hard batch is no divergence
_MAX_RATIO = 3.0
_CHANCE_LOSS = math.log(2)  # initial losses below chance may rise to it by noise
_ADVICE = (
    "Lower finetune.learning_rate, raise finetune.warmup_steps, or use precision float32; if the "
    "training was resumed, remove its checkpoints."
)


def check_finite(step: int, *, loss: float, grad_norm: float, learning_rate: float) -> None:
    """Raise if a step's loss or gradient norm is not finite, before a checkpoint contains it.

    Raises:
        StageError: names the step.
    """
    if math.isfinite(loss) and math.isfinite(grad_norm):
        return
    raise StageError(
        f"Training diverged at step {step}: loss {loss}, gradient norm {grad_norm}, learning rate "
        f"{learning_rate:.2g}. {_ADVICE}"
    )


def check_validation_losses(losses: Sequence[float]) -> None:
    """Raise if a validation loss is not finite.

    Raises:
        StageError: with the number of such losses.
    """
    if num_wrong := sum(not math.isfinite(loss) for loss in losses):
        raise StageError(
            f"Training diverged: the loss of {num_wrong} of {len(losses)} validation samples is "
            f"not finite. {_ADVICE}"
        )


def check_trend(log: Sequence[TrainingStepRecord]) -> None:
    """Raise if the mean loss of the last steps is three times that of the first steps or of chance.

    Raises:
        StageError: names the step and both means.
    """
    if len(log) < 2 * _WINDOW:
        return
    first = fmean(row.loss for row in log[:_WINDOW])
    last = fmean(row.loss for row in log[-_WINDOW:])
    if last <= _MAX_RATIO * max(first, _CHANCE_LOSS):
        return
    raise StageError(
        f"Training diverges: the mean loss of the {_WINDOW} steps up to step {log[-1].step} is "
        f"{last:.3g}, compared to {first:.3g} in the first {_WINDOW} steps. {_ADVICE}"
    )
