import pytest
import torch

from tasks.training.model.last_position import compute_every_position, compute_last_position_only
from tasks.training.model.trainable import open_for_training
from tasks.training.settings import TrainingSettings


@pytest.mark.slow
def test_the_last_position_has_the_logits_of_the_full_forward(tiny_omni):
    from transformers import Qwen3OmniMoeForConditionalGeneration

    top = Qwen3OmniMoeForConditionalGeneration.from_pretrained(tiny_omni)
    ids = torch.arange(20).reshape(2, 10)
    with torch.no_grad():
        whole = top.thinker(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        compute_last_position_only(top.thinker)
        last = top.thinker(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    assert last.shape == (2, 1, whole.shape[-1])
    torch.testing.assert_close(last, whole[:, -1:], rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_the_loss_is_that_of_transformers_forward_with_labels(tiny_omni):
    opened = open_for_training(tiny_omni, TrainingSettings(precision="float32"))
    pad, lengths = opened.processor.tokenizer.pad_token_id, (10, 7)
    ids = torch.full((2, 10), pad)
    for row, length in zip(ids, lengths, strict=True):
        row[10 - length :] = torch.arange(20, 20 + length)
    mask = (ids != pad).long()
    targets = torch.tensor([opened.token_yes, opened.token_no])
    logits = opened.trained(input_ids=ids, attention_mask=mask).logits
    loss = torch.nn.functional.cross_entropy(logits[:, -1], targets)

    compute_every_position(opened.trained)
    with_targets = torch.cat([ids, targets[:, None]], dim=1)
    labels = torch.full_like(with_targets, -100)
    labels[:, -1] = targets
    mask = torch.cat([mask, torch.ones_like(targets)[:, None]], dim=1)
    whole = opened.trained(input_ids=with_targets, attention_mask=mask, labels=labels)
    assert whole.logits.shape[1] == 11
    assert float(loss.detach()) == pytest.approx(float(whole.loss.detach()), rel=1e-5)
