"""The number of steps of a training, and the learning rate as a function of the step alone."""

import math

from tasks.training.settings import TrainingSettings


def learning_rate_at(step: int, num_steps: int, settings: TrainingSettings) -> float:
    """Return the learning rate of a step in 1..num_steps: linear warm-up, then decay."""
    if step <= settings.warmup_steps:
        return settings.learning_rate * step / settings.warmup_steps
    progress = (step - settings.warmup_steps) / max(1, num_steps - settings.warmup_steps)
    factor = {
        "constant": 1.0,
        "linear": 1.0 - progress,
        "cosine": (1.0 + math.cos(math.pi * min(progress, 1.0))) / 2,
    }[settings.schedule]
    floor = settings.min_learning_rate_fraction if settings.schedule != "constant" else 0.0
    return settings.learning_rate * max(factor, floor)


def num_steps_of(settings: TrainingSettings, num_samples: int) -> int:
    """Return ``steps``, or the number of steps of ``epochs`` passes over the training samples."""
    if settings.steps is not None:
        return settings.steps
    return max(1, math.ceil(settings.epochs * num_samples / settings.batch_size))
