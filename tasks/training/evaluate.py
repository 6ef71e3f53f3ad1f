"""How good the model is on the validation samples, from the answer's probabilities alone."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from storage.errors import StageError
from tasks.evaluation.metrics import compute_metrics
from tasks.training.checkpoints.checkpoints import Progress
from tasks.training.distributed.ranks import Ranks
from tasks.training.settings import Metric, TrainingSettings
from tasks.training.tracking.divergence import check_measured

_THRESHOLD = 0.5
_NOTHING = np.empty((3, 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Figures on the validation samples; ``None`` where one label alone leaves them undefined.

    ``loss`` is the mean cross-entropy of the answer token over the whole vocabulary.
    """

    loss: float
    macro_f1: float | None
    average_precision: float | None

    def score(self, metric: Metric) -> tuple[float, float]:
        """Rank these figures by a metric, and equals by their loss; greater is better."""
        value = -self.loss if metric == "loss" else getattr(self, metric)
        return value, -self.loss


@torch.no_grad()
def evaluate(
    model: Any,
    batches: Iterable[tuple[dict[str, torch.Tensor], torch.Tensor]],
    *,
    token_yes: int,
    token_no: int,
    ranks: Ranks,
) -> Figures:
    """Measure on batches of model inputs and their answers' token ids [batch].

    Each process brings its own batches; all get the figures over everybody's. A row whose answer is
    below 0 has none, and does not count.

    Raises:
        StageError: no process has a row with an answer, or the model answers with no numbers.
    """
    found: list[torch.Tensor] = []
    model.eval()
    for batch, answers in batches:
        logits = model(**batch, use_cache=False).logits[:, -1].float()  # [batch, vocabulary]
        losses = torch.nn.functional.cross_entropy(logits, answers, reduction="none")
        p_ah = logits[:, [token_no, token_yes]].softmax(-1)[:, 1]
        measured = torch.stack([losses, p_ah, answers == token_yes]).double()
        found.append(measured[:, answers >= 0].cpu())
    model.train()
    everybodys = ranks.gather([each.numpy() for each in found])
    return _figures(np.concatenate([_NOTHING, *itertools.chain(*everybodys)], axis=1))


def _figures(found: Any) -> Figures:
    losses, p_ah, labels = found  # each [samples]
    if not losses.size:
        raise StageError(
            "None of the validation samples has a readable picture or sound, so that no best "
            "checkpoint can be chosen: make their segments again with --force segment."
        )
    check_measured(losses)
    measured = compute_metrics(labels > _THRESHOLD, p_ah, _THRESHOLD)
    return Figures(
        loss=float(np.mean(losses)),
        macro_f1=measured["macro_f1"],
        average_precision=measured["average_precision"],
    )


def note_figures(progress: Progress, figures: Figures, settings: TrainingSettings) -> bool:
    """Compare a measurement with the best before it; says whether it is better."""
    score = figures.score(settings.metric)
    if progress.best_score is None or score > progress.best_score:
        progress.best_step, progress.best_score, progress.num_worse = progress.step, score, 0
        return True
    progress.num_worse += 1
    if settings.patience is not None:
        progress.stopped_early = progress.num_worse >= settings.patience
    return False
