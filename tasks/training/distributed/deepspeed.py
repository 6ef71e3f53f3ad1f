"""A model shared out among the processes that train it by DeepSpeed's ZeRO-3, as by `sharding`.

DeepSpeed gathers each module's weights when that is computed, keeps parts of gradients and of the
optimizer's state, and takes the step. The towers stay whole in every process and out of its sight:
they are not trained, and rows that lack a sound do not run them.
Source: https://deepspeed.readthedocs.io/en/latest/zero3.html
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from storage.errors import ToolError
from tasks.model.tensor_files import read_pickle, write_pickle
from tasks.training.checkpoints.formats import Restore, random_state, set_random_state
from tasks.training.distributed.ranks import Ranks
from tasks.training.settings import TrainingSettings

_WEIGHTS, _RANDOM = "weights.safetensors", "random.pt"
_STATE = "state"
_BYTES = 7


def check_installed() -> None:
    """Refuse to go on without DeepSpeed.

    Raises:
        ToolError: it is not installed.
    """
    if find_spec("deepspeed") is None:
        raise ToolError(
            "resources.finetune.sharding = deepspeed needs DeepSpeed: run `pip install deepspeed`, "
            "or set resources.finetune.sharding = fsdp, which needs nothing more."
        )


def shard_model(top: Any, settings: TrainingSettings, ranks: Ranks) -> None:
    """Make room in this process for its part of a model that lies on the meta device.

    All weights are left unset. At most a layer is whole at a time.
    """
    deepspeed, dtype = _deepspeed(ranks), getattr(torch, settings.precision)
    text, config = top.thinker.model, _config(settings)
    for parameter in top.thinker.parameters():  # not buffers: positions are counted in float32
        parameter.data = parameter.data.to(dtype)
    for whole in (top.thinker.visual, top.thinker.audio_tower, text.rotary_emb):
        whole.to_empty(device=ranks.device)
    for block in (*text.layers, text.embed_tokens, text.norm, top.thinker.lm_head):
        block.to_empty(device=ranks.device)
        deepspeed.zero.Init(module=block, config_dict_or_path=config, dtype=dtype)


def _deepspeed(ranks: Ranks) -> Any:
    if ranks.device.type == "cpu":
        os.environ["DS_ACCELERATOR"] = "cpu"  # it would take a GPU that is there
    import deepspeed

    return deepspeed


def _config(settings: TrainingSettings) -> dict[str, Any]:
    """DeepSpeed's settings; every call of ``step`` is one, after any number of ``backward``."""
    return {
        "train_micro_batch_size_per_gpu": 1,  # it asks for one, and does not use it
        "managed_gradient_accumulation": False,
        "gradient_clipping": settings.max_grad_norm,
        "bf16": {"enabled": settings.precision == "bfloat16"},
        "zero_optimization": {"stage": 3},
        "zero_allow_untested_optimizer": True,
    }


def is_part(tensor: torch.Tensor) -> bool:
    """Say whether DeepSpeed has shared a tensor out."""
    return hasattr(tensor, "ds_id")


def num_elements(tensor: torch.Tensor) -> int:
    """Count the numbers of a tensor, of all its parts where it is shared out."""
    return int(getattr(tensor, "ds_numel", tensor.numel()))


def put_whole(parameter: Any, whole: torch.Tensor | None) -> None:
    """Set a shared-out parameter from its whole, which the first process alone has."""
    import deepspeed

    with deepspeed.zero.GatheredParameters([parameter], modifier_rank=0):
        if whole is not None:
            parameter.data.copy_(whole)


def whole_of(parameter: Any) -> torch.Tensor:
    """Gather a copy of a shared-out parameter."""
    import deepspeed

    with deepspeed.zero.GatheredParameters([parameter]):
        return parameter.detach().clone()


@contextmanager
def _without_towers(thinker: Any) -> Iterator[None]:
    """Hide the towers from what goes over all of a model's parts."""
    modules = dict(thinker._modules)
    del thinker.visual, thinker.audio_tower
    try:
        yield
    finally:
        thinker._modules.clear()
        thinker._modules.update(modules)


class DeepSpeedOptimizerStep:
    """One process's part of the model under DeepSpeed; the counterpart of `optimizer_step.OptimizerStep`."""

    def __init__(self, trained: Any, settings: TrainingSettings, ranks: Ranks) -> None:
        self._ranks = ranks
        optimizer = torch.optim.AdamW(
            [p for p in trained.parameters() if p.requires_grad],
            lr=settings.learning_rate,
            betas=settings.adam_betas,
            weight_decay=settings.weight_decay,
        )
        with _without_towers(trained):
            self.model, self.optimizer, _, _ = _deepspeed(ranks).initialize(
                model=trained, optimizer=optimizer, config=_config(settings)
            )
        self.contents = DeepSpeedCheckpointFormat(self.model, ranks)

    def add(self, loss: torch.Tensor) -> None:
        """Add a loss's gradients to those of the step, which DeepSpeed averages over processes."""
        self.model.backward(loss * self._ranks.count)

    def apply(self, learning_rate: float) -> float:
        """Change the weights by the gradients of all processes; gives the gradients' norm."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        with _without_towers(self.model.module):
            self.model.step()
        return float(self.model.get_global_grad_norm())


class DeepSpeedCheckpointFormat:
    """What every process holds a part of; as many must go on with it as have written it.

    weights.safetensors (trained weights, gathered by the first process), state/ (DeepSpeed's own
    checkpoint), random.pt.
    """

    def __init__(self, engine: Any, ranks: Ranks) -> None:
        self._engine = engine
        self._ranks = ranks
        self.kind = f"parts of DeepSpeed's {ranks.count} processes"

    @property
    def num_bytes(self) -> int:
        """A third of what a checkpoint takes: weights twice, their float32 copy, two moments."""
        return sum(p.ds_numel * _BYTES for p in self._trained().values())

    def write_weights(self, folder: Path) -> None:
        """Write the trained weights, from the first process."""
        gathered: dict[str, torch.Tensor] = {}
        for name, parameter in self._trained().items():
            whole = whole_of(parameter)
            if self._ranks.is_first:
                gathered[name] = whole.cpu()
        if self._ranks.is_first:
            save_file(gathered, folder / _WEIGHTS)

    def write_rest(self, folder: Path) -> None:
        """Write this process's part of the optimizer's state; the first, the random numbers'."""
        with _without_towers(self._engine.module):
            self._engine.save_checkpoint(str(folder), tag=_STATE, exclude_frozen_parameters=True)
        if self._ranks.is_first:
            write_pickle(random_state(), folder / _RANDOM)

    def has_weights(self, folder: Path) -> bool:
        """Say whether a folder holds weights."""
        return (folder / _WEIGHTS).is_file()

    def read(self, folder: Path) -> Restore:
        """Read the random numbers' state; parts go straight to where they are used."""
        random = read_pickle(folder / _RANDOM)

        def restore() -> None:
            with _without_towers(self._engine.module):
                self._engine.load_checkpoint(str(folder), tag=_STATE, load_module_strict=False)
            set_random_state(random)

        return restore

    def restore_weights(self, folder: Path) -> None:
        """Put the weights alone to use, which the first process reads."""
        with torch.no_grad(), safe_open(folder / _WEIGHTS, "pt") as weights:
            for name, parameter in self._trained().items():
                put_whole(parameter, weights.get_tensor(name) if self._ranks.is_first else None)

    def _trained(self) -> dict[str, Any]:
        named = self._engine.module.named_parameters()
        return {name: parameter for name, parameter in named if parameter.requires_grad}
