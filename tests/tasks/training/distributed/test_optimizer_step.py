import pytest
import torch
from torch.distributed.tensor import DTensor

from tasks.training.distributed.optimizer_step import OptimizerStep
from tasks.training.distributed.ranks import Ranks
from tasks.training.settings import FinetuneResources, TrainingSettings

SETTINGS = TrainingSettings(precision="float32", max_grad_norm=0.5, weight_decay=0.1)


def layer():
    torch.manual_seed(0)
    return torch.nn.Linear(4, 3)


def losses_of(model):
    for seed in (1, 2):
        yield model(torch.randn(5, 4, generator=torch.Generator().manual_seed(seed))).square().sum()


@pytest.mark.parametrize("sharding", ["none", "fsdp"])
def test_one_process_steps_like_torch_and_is_not_sharded(sharding):
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    resources = FinetuneResources(device="cpu", sharding=sharding)
    optimizer_step = OptimizerStep(layer(), SETTINGS, resources, Ranks(cpu=True))
    for loss in losses_of(optimizer_step.model):
        optimizer_step.backward(loss)
    norm = optimizer_step.step(0.01)

    other = layer()
    optimizer = torch.optim.AdamW(
        other.parameters(), lr=0.01, betas=SETTINGS.adam_betas, weight_decay=0.1
    )
    sum(losses_of(other)).backward()
    assert norm == pytest.approx(float(torch.nn.utils.clip_grad_norm_(other.parameters(), 0.5)))
    optimizer.step()
    torch.testing.assert_close(optimizer_step.model.weight, other.weight)
    assert optimizer_step.model.weight.grad is None
    assert not isinstance(optimizer_step.model.weight, DTensor)
