"""What the kept weights answer about every validation segment, for the figures of the card."""

import torch

from tasks.training.data.batches import Training
from tasks.training.job import ValidationPrediction


@torch.no_grad()
def predict_validation(training: Training) -> list[ValidationPrediction]:
    """Ask the model about the validation samples that can be read; none without validation.

    Each process, holding the kept weights, asks about its part; all get everybody's answers.
    """
    opened = training.opened
    opened.trained.eval()
    found: dict[str, float] = {}
    for samples, (batch, _) in training.val_batches():
        logits = opened.trained(**batch, use_cache=False).logits[:, -1].float()
        p_ah = logits[:, [opened.token_no, opened.token_yes]].softmax(-1)[:, 1].tolist()
        found |= {sample.segment_id: value for sample, value in zip(samples, p_ah, strict=False)}
    everybodys = {name: p for each in training.ranks.gather(found) for name, p in each.items()}
    return [
        ValidationPrediction(segment_id=sample.segment_id, p_ah=everybodys[sample.segment_id])
        for sample in training.val_samples
        if sample.segment_id in everybodys
    ]
