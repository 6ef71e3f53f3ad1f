"""The learning rate of every step, as a function of the step alone."""

import math

from tasks.omni.training.settings import TrainingSettings


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
    floor = settings.min_learning_rate_share if settings.schedule != "constant" else 0.0
    return settings.learning_rate * max(left, floor)
