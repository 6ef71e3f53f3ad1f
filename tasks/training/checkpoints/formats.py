"""Checkpoint formats of a model and its optimizer: full, or sharded over processes.

full      weights.safetensors (trained weights), optimizer.pt, random.pt, written by one process
sharded   weights/ and optimizer/ in the format of torch.distributed.checkpoint, one file per
          process, and random.pt; another number of processes can read them
"""

import pickle
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from tasks.model.tensor_files import read_pickle, write_pickle

Weights = Mapping[str, torch.Tensor]
Restore = Callable[[], None]

_WEIGHTS = "weights.safetensors"
_OPTIMIZER = "optimizer.pt"
_RANDOM = "random.pt"
_WEIGHTS_FOLDER, _OPTIMIZER_FOLDER = "weights", "optimizer"
_MOMENTS = ("exp_avg", "exp_avg_sq")
DAMAGE = (
    OSError, ValueError, KeyError, TypeError, RuntimeError, EOFError, SafetensorError,
    pickle.UnpicklingError,
)  # fmt: skip


class CheckpointFormat(Protocol):
    """How a model and its optimizer are written to a checkpoint's folder and restored."""

    @property
    def kind(self) -> str:
        """The name of the format."""

    @property
    def num_bytes(self) -> int:
        """The size of the trained weights over all processes."""

    def write_weights(self, folder: Path) -> None:
        """Write the trained weights."""

    def write_state(self, folder: Path) -> None:
        """Write optimizer and RNG state, which resuming needs besides the weights."""

    def has_weights(self, folder: Path) -> bool:
        """Return whether a folder contains weights."""

    def read(self, folder: Path) -> Restore:
        """Read or check a checkpoint, and return a function that restores it.

        Raises:
            OSError, ValueError: it is damaged, or any other error of `DAMAGE`.
        """

    def load_weights(self, folder: Path) -> None:
        """Load only the weights into the model."""


class FullCheckpointFormat:
    """A model that one process holds in full."""

    kind = "full"

    def __init__(self, model: Any, optimizer: Any) -> None:
        self._model = model
        self._optimizer = optimizer

    @property
    def num_bytes(self) -> int:
        """The size of the trained weights."""
        return sum(parameter.nbytes for _, parameter in _trained(self._model))

    def write_weights(self, folder: Path) -> None:
        """Write the trained weights."""
        save_file(trained_weights(self._model), folder / _WEIGHTS)

    def write_state(self, folder: Path) -> None:
        """Write optimizer and RNG state."""
        write_pickle(self._optimizer.state_dict(), folder / _OPTIMIZER)
        write_pickle(random_state(), folder / _RANDOM)

    def has_weights(self, folder: Path) -> bool:
        """Return whether a folder contains weights."""
        return (folder / _WEIGHTS).is_file()

    def read(self, folder: Path) -> Restore:
        """Read a checkpoint into memory, and return a function that restores it."""
        weights = load_file(folder / _WEIGHTS)
        optimizer = read_pickle(folder / _OPTIMIZER)
        random = read_pickle(folder / _RANDOM)

        def restore() -> None:
            self._load(weights)
            self._optimizer.load_state_dict(optimizer)
            set_random_state(random)

        return restore

    def load_weights(self, folder: Path) -> None:
        """Load only the weights into the model."""
        self._load(load_file(folder / _WEIGHTS))

    def _load(self, weights: Weights) -> None:
        parameters = dict(self._model.named_parameters())
        with torch.no_grad():
            for name, tensor in weights.items():
                parameters[name].copy_(tensor)


class ShardedCheckpointFormat:
    """A model sharded over processes; all methods but `read` are collective."""

    kind = "sharded"

    def __init__(self, model: Any, optimizer: Any) -> None:
        self._model = model
        self._optimizer = optimizer

    @property
    def num_bytes(self) -> int:
        """The size of the trained weights over all processes."""
        return sum(p.numel() * p.element_size() for _, p in _trained(self._model))

    def write_weights(self, folder: Path) -> None:
        """Write this process's shard of the trained weights."""
        _write_shards(dict(_trained(self._model)), folder / _WEIGHTS_FOLDER)

    def write_state(self, folder: Path) -> None:
        """Write this process's shard of the optimizer state, and in one process the RNG state."""
        _write_shards(self._optimizer_tensors(), folder / _OPTIMIZER_FOLDER)
        if torch.distributed.get_rank() == 0:
            write_pickle(random_state(), folder / _RANDOM)

    def has_weights(self, folder: Path) -> bool:
        """Return whether a folder contains weights; their metadata is written last."""
        return (folder / _WEIGHTS_FOLDER / ".metadata").is_file()

    def read(self, folder: Path) -> Restore:
        """Read the RNG state; shards are loaded in place by the returned function."""
        random = read_pickle(folder / _RANDOM)

        def restore() -> None:
            self.load_weights(folder)
            _read_shards(self._optimizer_tensors(), folder / _OPTIMIZER_FOLDER)
            set_random_state(random)

        return restore

    def load_weights(self, folder: Path) -> None:
        """Load only the weights into the model."""
        _read_shards(dict(_trained(self._model)), folder / _WEIGHTS_FOLDER)

    def _optimizer_tensors(self) -> dict[str, torch.Tensor]:
        """Return AdamW's state by parameter name, with zeros where there was no gradient yet."""
        tensors: dict[str, torch.Tensor] = {}
        for name, parameter in _trained(self._model):
            state = self._optimizer.state[parameter]
            if not state:
                moments = {moment: torch.zeros_like(parameter.detach()) for moment in _MOMENTS}
                state.update(step=torch.tensor(0.0), **moments)
            tensors |= {f"{name}.{key}": tensor for key, tensor in state.items()}
        return tensors


def _write_shards(tensors: Weights, folder: Path) -> None:
    from torch.distributed.checkpoint.state_dict_saver import save

    with _first_failure():
        save({n: p.detach() for n, p in tensors.items()}, checkpoint_id=folder)


def _read_shards(tensors: Weights, folder: Path) -> None:
    from torch.distributed.checkpoint.state_dict_loader import load

    with _first_failure():
        load({n: p.detach() for n, p in tensors.items()}, checkpoint_id=folder)


@contextmanager
def _first_failure() -> Iterator[None]:
    """Raise the first process's error: torch's CheckpointException is not an ``Exception``."""
    from torch.distributed.checkpoint.api import CheckpointException

    try:
        yield
    except CheckpointException as error:
        raise next(iter(error.failures.values()))[0] from error


def _trained(model: Any) -> list[tuple[str, torch.nn.Parameter]]:
    return [(name, p) for name, p in model.named_parameters() if p.requires_grad]


def trained_weights(model: Any) -> dict[str, torch.Tensor]:
    """Return the trained weights in host memory."""
    return {name: p.detach().cpu().contiguous() for name, p in _trained(model)}


def random_state() -> dict[str, Any]:
    """Return the RNG state of this process."""
    return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all()}


def set_random_state(state: Mapping[str, Any]) -> None:
    """Restore the RNG state; that of GPUs only if their number is the same."""
    torch.set_rng_state(state["cpu"])
    if len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
