import pytest
import torch
from torch.nn.functional import cross_entropy

from tasks.training.data.batches import NO_ANSWER
from tasks.training.loop import weighted_loss

NO, YES = 3, 8
LOGITS = torch.randn(32, 500, generator=torch.Generator().manual_seed(0))
ANSWERS = torch.tensor([NO, YES, NO, NO] * 8)


def test_weights_of_one_give_the_bits_of_no_weights():
    plain = cross_entropy(LOGITS, ANSWERS, reduction="sum")
    assert torch.equal(weighted_loss(LOGITS, ANSWERS, {NO: 1.0, YES: 1.0}), plain)


def test_a_blank_has_no_loss_and_zeros_for_gradients():
    logits = LOGITS[:1].clone().requires_grad_()
    loss = weighted_loss(logits, torch.tensor([NO_ANSWER]), {NO: 0.5, YES: 2.5})
    loss.backward()
    assert float(loss.detach()) == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_a_weight_is_a_factor_of_a_samples_loss():
    losses = cross_entropy(LOGITS, ANSWERS, reduction="none")
    factors = torch.where(ANSWERS == YES, 2.5, 0.5)
    found = weighted_loss(LOGITS, ANSWERS, {NO: 0.5, YES: 2.5})
    assert float(found) == pytest.approx(float((factors * losses).sum()), rel=1e-6)
