"""Sharded training with DeepSpeed ZeRO-3, the counterpart of `fsdp`.

DeepSpeed gathers each module's weights when it runs, partitions gradients and optimizer state, and
takes the step. The towers are replicated and hidden from it: they are not trained, and rows without
audio do not run them.
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
from tasks.training.checkpoints.formats import (
    CheckpointFormat,
    Restore,
    random_state,
    set_random_state,
)
from tasks.training.distributed.ranks import Ranks
from tasks.training.settings import TrainingSettings

_WEIGHTS, _RANDOM = "weights.safetensors", "random.pt"
_STATE = "state"
_BYTES = 7


def check_installed() -> None:
    """Raise if DeepSpeed is not installed.

    Raises:
        ToolError: it is not.
    """
    if find_spec("deepspeed") is None:
        raise ToolError(
            "resources.finetune.sharding = deepspeed requires DeepSpeed: run `pip install "
            "deepspeed`, or set resources.finetune.sharding = fsdp."
        )


def shard_model(top: Any, settings: TrainingSettings, ranks: Ranks) -> None:
    """Allocate this process's partition of a model on the meta device.

    Weights are uninitialized. At most one layer is allocated in full at a time.
    """
    deepspeed, dtype = _deepspeed(ranks), getattr(torch, settings.precision)
    text, config = top.thinker.model, _config(settings)
    for parameter in top.thinker.parameters():  # not buffers: rotary frequencies stay float32
        parameter.data = parameter.data.to(dtype)
    for replicated in (top.thinker.visual, top.thinker.audio_tower, text.rotary_emb):
        replicated.to_empty(device=ranks.device)
    for block in (*text.layers, text.embed_tokens, text.norm, top.thinker.lm_head):
        block.to_empty(device=ranks.device)
        deepspeed.zero.Init(module=block, config_dict_or_path=config, dtype=dtype)


def _deepspeed(ranks: Ranks) -> Any:
    if ranks.device.type == "cpu":
        os.environ["DS_ACCELERATOR"] = "cpu"  # else it would use an available GPU
    import deepspeed

    return deepspeed


def _config(settings: TrainingSettings) -> dict[str, Any]:
    """Return DeepSpeed's settings: each ``step`` follows any number of ``backward`` calls."""
    return {
        "train_micro_batch_size_per_gpu": 1,  # required, but unused
        "managed_gradient_accumulation": False,
        "gradient_clipping": settings.max_grad_norm,
        "bf16": {"enabled": settings.precision == "bfloat16"},
        "zero_optimization": {"stage": 3},
        "zero_allow_untested_optimizer": True,
    }


def is_partitioned(tensor: torch.Tensor) -> bool:
    """Return whether DeepSpeed has partitioned a tensor."""
    return hasattr(tensor, "ds_id")


def num_elements(tensor: torch.Tensor) -> int:
    """Return the number of elements of a tensor over all of its partitions."""
    return int(getattr(tensor, "ds_numel", tensor.numel()))


def scatter_parameter(parameter: Any, full: torch.Tensor | None) -> None:
    """Set a partitioned parameter from the full one in the main process."""
    import deepspeed

    with deepspeed.zero.GatheredParameters([parameter], modifier_rank=0):
        if full is not None:
            parameter.data.copy_(full)


def gather_parameter(parameter: Any) -> torch.Tensor:
    """Return a full copy of a partitioned parameter."""
    import deepspeed

    with deepspeed.zero.GatheredParameters([parameter]):
        return parameter.detach().clone()


@contextmanager
def _without_towers(thinker: Any) -> Iterator[None]:
    """Hide the towers from DeepSpeed, which iterates over all submodules."""
    modules = dict(thinker._modules)
    del thinker.visual, thinker.audio_tower
    try:
        yield
    finally:
        thinker._modules.clear()
        thinker._modules.update(modules)


class DeepSpeedOptimizerStep:
    """One process's partition of the model, with the interface of `OptimizerStep`."""

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
        self.checkpoint_format: CheckpointFormat = DeepSpeedCheckpointFormat(self.model, ranks)

    def backward(self, loss: torch.Tensor) -> None:
        """Accumulate a loss's gradients."""
        # DeepSpeed averages gradients over processes; the loss is already divided by its weight.
        self.model.backward(loss * self._ranks.count)

    def step(self, learning_rate: float) -> float:
        """Update the weights with the gradients of all processes; returns the gradient norm."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        with _without_towers(self.model.module):
            self.model.step()
        return float(self.model.get_global_grad_norm())


class DeepSpeedCheckpointFormat:
    """Partitions of all processes; the same number of processes must resume from them.

    weights.safetensors (trained weights, gathered by the main process), state/ (DeepSpeed's own
    checkpoint), random.pt.
    """

    def __init__(self, engine: Any, ranks: Ranks) -> None:
        self._engine = engine
        self._ranks = ranks
        self.kind = f"deepspeed with {ranks.count} processes"

    @property
    def num_bytes(self) -> int:
        """A third of a checkpoint's size: weights twice, their float32 copy, two moments."""
        return sum(p.ds_numel * _BYTES for p in self._trained().values())

    def write_weights(self, folder: Path) -> None:
        """Write the trained weights from the main process."""
        gathered: dict[str, torch.Tensor] = {}
        for name, parameter in self._trained().items():
            full = gather_parameter(parameter)
            if self._ranks.is_main:
                gathered[name] = full.cpu()
        if self._ranks.is_main:
            save_file(gathered, folder / _WEIGHTS)

    def write_state(self, folder: Path) -> None:
        """Write this process's optimizer state; the main process adds the RNG state."""
        with _without_towers(self._engine.module):
            self._engine.save_checkpoint(str(folder), tag=_STATE, exclude_frozen_parameters=True)
        if self._ranks.is_main:
            write_pickle(random_state(), folder / _RANDOM)

    def has_weights(self, folder: Path) -> bool:
        """Return whether a folder contains weights."""
        return (folder / _WEIGHTS).is_file()

    def read(self, folder: Path) -> Restore:
        """Read the RNG state; partitions are loaded in place by the returned function."""
        random = read_pickle(folder / _RANDOM)

        def restore() -> None:
            with _without_towers(self._engine.module):
                self._engine.load_checkpoint(str(folder), tag=_STATE, load_module_strict=False)
            set_random_state(random)

        return restore

    def load_weights(self, folder: Path) -> None:
        """Load only the weights, which the main process reads."""
        with torch.no_grad(), safe_open(folder / _WEIGHTS, "pt") as weights:
            for name, parameter in self._trained().items():
                full = weights.get_tensor(name) if self._ranks.is_main else None
                scatter_parameter(parameter, full)

    def _trained(self) -> dict[str, Any]:
        named = self._engine.module.named_parameters()
        return {name: parameter for name, parameter in named if parameter.requires_grad}
