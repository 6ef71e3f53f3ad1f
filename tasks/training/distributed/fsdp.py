"""A model shared out among the processes that train it, by torch's FSDP2: each keeps a part.

Of every trained weight, its gradient and its optimizer state a process holds one part in as many as
there are processes. A decoder layer is gathered when it is computed and let go again, and its
gradients are summed into their parts; embedding, head and last norm are gathered together. The
towers stay whole in every process, since rows that lack a sound do not run them: one process would
wait for parts that another never asks for.
Source: https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html
"""

import copy
import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch.distributed.tensor import DTensor, distribute_tensor

from storage.errors import ConfigError
from tasks.training.distributed import deepspeed as zero
from tasks.training.distributed.ranks import Ranks
from tasks.training.settings import FinetuneResources, TrainingSettings


def is_sharded(resources: FinetuneResources, ranks: Ranks) -> bool:
    """Say whether the model is shared out; a process alone has nobody to share with."""
    return resources.sharding != "none" and ranks.count > 1


def check_sharding(settings: TrainingSettings, resources: FinetuneResources) -> None:
    """Refuse to share out what cannot be.

    Raises:
        ConfigError: adapters lie beside weights, or among them, which no process would hold whole;
            or DeepSpeed would have to train the towers.
        ToolError: DeepSpeed is asked for and not installed.
    """
    if resources.sharding != "none" and settings.method != "full":
        raise ConfigError(
            f"resources.finetune.sharding = {resources.sharding} is for finetune.method = full, "
            f"but the method is {settings.method!r}: set resources.finetune.sharding = none (each "
            "process then holds the whole model), or finetune.method = full."
        )
    if resources.sharding != "deepspeed":
        return
    zero.check_installed()
    if towers := sorted({"audio", "projector", "vision"} & set(settings.trained_parts)):
        raise ConfigError(
            "resources.finetune.sharding = deepspeed keeps the towers frozen, but finetune.parts "
            f"names {', '.join(towers)}: leave them out, or set resources.finetune.sharding = fsdp."
        )


def shard_model(
    top: Any, settings: TrainingSettings, resources: FinetuneResources, ranks: Ranks
) -> None:
    """Make room in this process for its part of a model that lies on the meta device."""
    if resources.sharding == "deepspeed":
        zero.shard_model(top, settings, ranks)
    else:
        _shard_model(top, settings, ranks)


def _shard_model(top: Any, settings: TrainingSettings, ranks: Ranks) -> None:
    """Lay parts out by FSDP2.

    Trained weights take float32, frozen ones the settings' precision; all are left unset.
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
        block.set_force_sum_reduction_for_comms(True)  # gloo knows no other
    thinker.to_empty(device=ranks.device)


@torch.no_grad()
def spread_weights(top: Any, source: Any, ranks: Ranks) -> None:
    """Give every process its part of the first one's whole model, a tensor at a time.

    ``source`` is that model on the first process, and ``None`` on the others.
    """
    whole = _tensors(source) if ranks.is_first else {}
    for name, tensor in _tensors(top).items():
        if zero.is_part(tensor):
            zero.put_whole(tensor, whole.get(name))
        else:
            _spread(tensor, whole.get(name), ranks)


def _spread(tensor: torch.Tensor, whole: torch.Tensor | None, ranks: Ranks) -> None:
    if whole is None:
        sent = torch.empty(tensor.shape, dtype=tensor.dtype, device=ranks.device)
    else:
        sent = whole.to(ranks.device, tensor.dtype).contiguous()
    torch.distributed.broadcast(sent, 0)
    if isinstance(tensor, DTensor):
        mesh, placements = tensor.device_mesh, tensor.placements
        part = distribute_tensor(sent, mesh, placements, src_data_rank=None)
        tensor.to_local().copy_(part.to_local())
    else:
        tensor.copy_(sent)


def _tensors(model: Any) -> dict[str, torch.Tensor]:
    return dict(itertools.chain(model.named_parameters(), model.named_buffers()))


@torch.no_grad()
def gather_model(top: Any, dtype: torch.dtype, ranks: Ranks) -> Any:
    """Put the parts together in the first process's host memory; the others get ``None``."""
    weights: dict[str, torch.Tensor] = {}
    tensors, stored = _tensors(top), top.state_dict()
    for name in stored:
        whole = _whole_of(tensors[name])
        if ranks.is_first:
            weights[name] = whole.detach().to("cpu", dtype if whole.is_floating_point() else None)
    if not ranks.is_first:
        return None
    with torch.device("meta"):
        model = type(top)._from_config(copy.deepcopy(top.config), dtype=dtype)
    model.load_state_dict(weights, assign=True)
    model.generation_config = top.generation_config
    return model


def _whole_of(tensor: torch.Tensor) -> torch.Tensor:
    if isinstance(tensor, DTensor):
        return tensor.full_tensor()
    return zero.whole_of(tensor) if zero.is_part(tensor) else tensor


def clip_gradients(parameters: Sequence[torch.nn.Parameter], max_norm: float) -> float:
    """Scale gradients, shared out or whole, down to a norm; gives the norm that they had."""
    there = [parameter for parameter in parameters if parameter.grad is not None]
    kinds = [[p for p in there if isinstance(p, DTensor) == shared] for shared in (True, False)]
    norms = []
    for alike in filter(None, kinds):
        norm = torch.nn.utils.get_total_norm([p.grad for p in alike if p.grad is not None])
        norms.append(norm.full_tensor() if isinstance(norm, DTensor) else norm)
    total = torch.linalg.vector_norm(torch.stack(norms))
    for alike in filter(None, kinds):
        torch.nn.utils.clip_grads_with_norm_(alike, max_norm, total)
    return float(total)
