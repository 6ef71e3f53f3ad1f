"""Evaluation on the validation samples, from the probabilities of the answer token."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from storage.errors import StageError
from tasks.evaluation.metrics import compute_metrics
from tasks.training.checkpoints.checkpoints import Progress
from tasks.training.context import TrainingContext
from tasks.training.data.batches import val_batches
from tasks.training.distributed.ranks import Ranks
from tasks.training.job import ValidationPrediction
from tasks.training.settings import Metric, TrainingSettings
from tasks.training.tracking.divergence import check_validation_losses

_THRESHOLD = 0.5
_EMPTY = np.empty((3, 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationMetrics:
    """Metrics on the validation samples; ``None`` where a single label leaves them undefined.

    ``loss`` is the mean cross-entropy of the answer token over the whole vocabulary.
    """

    loss: float
    macro_f1: float | None
    average_precision: float | None

    def score(self, metric: Metric) -> tuple[float, float]:
        """Return a sort key by a metric, ties broken by the loss; greater is better."""
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
) -> ValidationMetrics:
    """Evaluate on batches of model inputs and target token ids [batch].

    Each process passes its own batches; all get the metrics over all processes. Rows with a
    negative target are ignored.

    Raises:
        StageError: no process has a row with a target, or a loss is not finite.
    """
    results: list[torch.Tensor] = []
    model.eval()
    for batch, targets in batches:
        logits = model(**batch, use_cache=False).logits[:, -1].float()  # [batch, vocabulary]
        losses = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
        p_ah = _p_ah(logits, token_yes=token_yes, token_no=token_no)
        stacked = torch.stack([losses, p_ah, targets == token_yes]).double()
        results.append(stacked[:, targets >= 0].cpu())
    model.train()
    gathered = ranks.gather([result.numpy() for result in results])
    return _metrics(np.concatenate([_EMPTY, *itertools.chain(*gathered)], axis=1))


def _p_ah(logits: torch.Tensor, *, token_yes: int, token_no: int) -> torch.Tensor:
    """Return the softmax over the two answer tokens, of Yes [batch]."""
    return logits[:, [token_no, token_yes]].softmax(-1)[:, 1]


def _metrics(results: Any) -> ValidationMetrics:
    losses, p_ah, labels = results  # each [samples]
    if not losses.size:
        raise StageError(
            "None of the validation samples has readable video or audio, so the best checkpoint "
            "cannot be selected: recompute their segments with --force segment."
        )
    check_validation_losses(losses)
    metrics = compute_metrics(labels > _THRESHOLD, p_ah, _THRESHOLD)
    return ValidationMetrics(
        loss=float(np.mean(losses)),
        macro_f1=metrics["macro_f1"],
        average_precision=metrics["average_precision"],
    )


def update_best(progress: Progress, metrics: ValidationMetrics, settings: TrainingSettings) -> bool:
    """Compare metrics with the best so far, and return whether they are better.

    Sets ``stopped_early`` when the patience is exhausted.
    """
    score = metrics.score(settings.metric)
    if progress.best_score is None or score > progress.best_score:
        progress.best_step, progress.best_score, progress.num_worse = progress.step, score, 0
        return True
    progress.num_worse += 1
    if settings.patience is not None:
        progress.stopped_early = progress.num_worse >= settings.patience
    return False


@torch.no_grad()
def predict_validation(context: TrainingContext) -> list[ValidationPrediction]:
    """Predict the readable validation samples with the kept weights, for the model card.

    Each process predicts its partition; all get the predictions of all processes.
    """
    opened = context.opened
    opened.trained.eval()
    mine: dict[str, float] = {}
    for samples, (batch, _) in val_batches(context):
        logits = opened.trained(**batch, use_cache=False).logits[:, -1].float()
        p_ah = _p_ah(logits, token_yes=opened.token_yes, token_no=opened.token_no).tolist()
        mine |= {sample.segment_id: value for sample, value in zip(samples, p_ah, strict=False)}
    gathered = {name: p for each in context.ranks.gather(mine) for name, p in each.items()}
    return [
        ValidationPrediction(segment_id=sample.segment_id, p_ah=gathered[sample.segment_id])
        for sample in context.val_samples
        if sample.segment_id in gathered
    ]
