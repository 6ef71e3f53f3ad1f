"""What the kept weights answer about every validation segment, for the figures of the card."""

import torch

from tasks.omni.training.data import pieces
from tasks.omni.training.job import ValidationAnswer
from tasks.omni.training.loop import Training


@torch.no_grad()
def answer_validation(training: Training) -> list[ValidationAnswer]:
    """Ask the model about the validation samples that can be read; none without validation.

    For the first process alone, which holds the kept weights.
    """
    opened = training.opened
    groups = list(pieces(training.val_samples, training.resources.micro_batch_size))
    opened.trained.eval()
    answers: list[ValidationAnswer] = []
    for group, rows in zip(groups, training.reader.iter_batches(groups), strict=True):
        made = training.collate(rows, group, training.ranks.device)
        if made is None:
            continue
        logits = opened.trained(**made[0], use_cache=False).logits[:, -1].float()
        p_ah = logits[:, [opened.token_no, opened.token_yes]].softmax(-1)[:, 1].tolist()
        read = [sample for sample, row in zip(group, rows, strict=True) if row is not None]
        answers += [
            ValidationAnswer(segment_id=sample.segment_id, p_ah=value)
            for sample, value in zip(read, p_ah, strict=True)
        ]
    return answers
