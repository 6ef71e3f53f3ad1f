"""Sharded training with torch's FSDP2.

Each process holds one shard of every weight, gradient and optimizer state. A decoder layer's
weights are gathered while it runs and its gradients are reduce-scattered; embedding, head and last
norm form one group. The towers are replicated, since rows without audio do not run them: a process
that does would wait for shards that others never send.
Source: https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html
"""

import copy
import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch.distributed.tensor import DTensor, distribute_tensor

from storage.errors import ConfigError
from tasks.training.distributed.ranks import Ranks
from tasks.training.settings import FinetuneResources, TrainingSettings


def is_sharded(resources: FinetuneResources, ranks: Ranks) -> bool:
    """Return whether the model is sharded, which takes more than one process."""
    return resources.sharding != "none" and ranks.count > 1


def check_sharding(settings: TrainingSettings, resources: FinetuneResources) -> None:
    """Raise if the training cannot be sharded as the settings request.

    Raises:
        ConfigError: the method is not full.
    """
    if resources.sharding != "none" and settings.method != "full":
        raise ConfigError(
            f"resources.finetune.sharding = {resources.sharding} requires finetune.method = full, "
            f"but the method is {settings.method!r}: set resources.finetune.sharding = none (the "
            "model is replicated in each process), or finetune.method = full."
        )


def shard_model(top: Any, settings: TrainingSettings, ranks: Ranks) -> None:
    """Allocate this process's shard of a model on the meta device; weights are uninitialized.

    Trained weights are float32, frozen ones have the settings' precision.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    thinker, policy = top.thinker, MixedPrecisionPolicy()
    if settings.precision == "bfloat16":
        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    for parameter in thinker.parameters():
        if not parameter.requires_grad:
            parameter.data = parameter.data.to(getattr(torch, settings.precision))
    towers = {*thinker.visual.parameters(), *thinker.audio_tower.parameters()}
    mesh = init_device_mesh(ranks.device.type, (ranks.count,))
    for block in (*thinker.model.layers, thinker):
        fully_shard(
            block, mesh=mesh, mp_policy=policy, ignored_params=towers, reshard_after_forward=True
        )
        block.set_gradient_divide_factor(1.0)  # a step's loss is already divided by its weight
        block.set_force_sum_reduction_for_comms(True)  # gloo supports no other
    thinker.to_empty(device=ranks.device)


@torch.no_grad()
def scatter_weights(top: Any, source: Any, ranks: Ranks) -> None:
    """Fill every process's shard from the main process's full model, one tensor at a time.

    ``source`` is that model in the main process, and ``None`` in the others.
    """
    full = _tensors(source) if ranks.is_main else {}
    for name, tensor in _tensors(top).items():
        _scatter(tensor, full.get(name), ranks)


def _scatter(tensor: torch.Tensor, full: torch.Tensor | None, ranks: Ranks) -> None:
    if full is None:
        sent = torch.empty(tensor.shape, dtype=tensor.dtype, device=ranks.device)
    else:
        sent = full.to(ranks.device, tensor.dtype).contiguous()
    torch.distributed.broadcast(sent, 0)
    if isinstance(tensor, DTensor):
        mesh, placements = tensor.device_mesh, tensor.placements
        shard = distribute_tensor(sent, mesh, placements, src_data_rank=None)
        tensor.to_local().copy_(shard.to_local())
    else:
        tensor.copy_(sent)


def _tensors(model: Any) -> dict[str, torch.Tensor]:
    return dict(itertools.chain(model.named_parameters(), model.named_buffers()))


@torch.no_grad()
def gather_model(top: Any, dtype: torch.dtype, ranks: Ranks) -> Any:
    """Gather the full model in the main process's host memory; others get ``None``."""
    weights: dict[str, torch.Tensor] = {}
    tensors = _tensors(top)
    for name in top.state_dict():
        tensor = tensors[name]
        full = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        if ranks.is_main:
            weights[name] = full.detach().to("cpu", dtype if full.is_floating_point() else None)
    if not ranks.is_main:
        return None
    with torch.device("meta"):
        model = type(top)._from_config(copy.deepcopy(top.config), dtype=dtype)
    model.load_state_dict(weights, assign=True)
    model.generation_config = top.generation_config
    return model


def clip_gradients(parameters: Sequence[torch.nn.Parameter], max_norm: float) -> float:
    """Clip sharded and replicated gradients to a total norm; returns the norm before clipping."""
    used = [parameter for parameter in parameters if parameter.grad is not None]
    groups = [[p for p in used if isinstance(p, DTensor) == sharded] for sharded in (True, False)]
    norms = []
    for group in filter(None, groups):
        norm = torch.nn.utils.get_total_norm([p.grad for p in group if p.grad is not None])
        norms.append(norm.full_tensor() if isinstance(norm, DTensor) else norm)
    total = torch.linalg.vector_norm(torch.stack(norms))
    for group in filter(None, groups):
        torch.nn.utils.clip_grads_with_norm_(group, max_norm, total)
    return float(total)
