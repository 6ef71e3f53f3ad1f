"""How many steps a training has, and the learning rate of every one as a function of it alone."""

import math

from tasks.training.settings import TrainingSettings


def learning_rate_at(step: int, num_steps: int, settings: TrainingSettings) -> float:
    """Give the learning rate of a step in 1..num_steps: a linear rise, then the schedule's fall."""
    if step <= settings.warmup_steps:
        return settings.learning_rate * step / settings.warmup_steps
    share = (step - settings.warmup_steps) / max(1, num_steps - settings.warmup_steps)
    left = {
        "constant": 1.0,
        "linear": 1.0 - share,
        "cosine": (1.0 + math.cos(math.pi * min(share, 1.0))) / 2,
    }[settings.schedule]
    floor = settings.min_learning_rate_fraction if settings.schedule != "constant" else 0.0
    return settings.learning_rate * max(left, floor)


def num_steps_of(settings: TrainingSettings, num_samples: int) -> int:
    """Give the number of steps that the settings ask for, on that many training samples."""
    if settings.steps is not None:
        return settings.steps
    return max(1, math.ceil(settings.epochs * num_samples / settings.batch_size))
