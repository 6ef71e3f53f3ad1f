import pytest
import torch
from torch.nn.functional import cross_entropy

from tasks.training.data.batches import IGNORE_INDEX
from tasks.training.loop import weighted_loss

NO, YES = 3, 8
LOGITS = torch.randn(32, 500, generator=torch.Generator().manual_seed(0))
TARGETS = torch.tensor([NO, YES, NO, NO] * 8)


def test_weights_of_one_are_bitwise_like_no_weights():
    plain = cross_entropy(LOGITS, TARGETS, reduction="sum")
    assert torch.equal(weighted_loss(LOGITS, TARGETS, {NO: 1.0, YES: 1.0}), plain)


def test_a_blank_batch_has_zero_loss_and_gradients():
    logits = LOGITS[:1].clone().requires_grad_()
    loss = weighted_loss(logits, torch.tensor([IGNORE_INDEX]), {NO: 0.5, YES: 2.5})
    loss.backward()
    assert float(loss.detach()) == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_a_weight_multiplies_a_samples_loss():
    losses = cross_entropy(LOGITS, TARGETS, reduction="none")
    factors = torch.where(TARGETS == YES, 2.5, 0.5)
    loss = weighted_loss(LOGITS, TARGETS, {NO: 0.5, YES: 2.5})
    assert float(loss) == pytest.approx(float((factors * losses).sum()), rel=1e-6)
