"""What a checkpoint holds of a model and its optimizer: all of it, or every process's part.

whole    weights.safetensors (trained weights), optimizer.pt, random.pt; one process writes them
shards   weights/ and optimizer/ as torch.distributed.checkpoint writes them, a file a process, and
         random.pt; all processes write and read them, and not as many need read as have written
(`zero` has a third.)
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
_WEIGHT_PARTS, _OPTIMIZER_PARTS = "weights", "optimizer"
_MOMENTS = ("exp_avg", "exp_avg_sq")
DAMAGE = (
    OSError, ValueError, KeyError, TypeError, RuntimeError, EOFError, SafetensorError,
    pickle.UnpicklingError,
)  # fmt: skip


class CheckpointFormat(Protocol):
    """A model and its optimizer, on their way into a checkpoint's folder and back."""

    @property
    def kind(self) -> str:
        """What tells this way of laying a model down from others."""

    @property
    def num_bytes(self) -> int:
        """The size of the trained weights, of all processes together."""

    def write_weights(self, folder: Path) -> None:
        """Write the trained weights."""

    def write_rest(self, folder: Path) -> None:
        """Write what a training needs beside them to go on."""

    def has_weights(self, folder: Path) -> bool:
        """Say whether a folder holds weights."""

    def read(self, folder: Path) -> Restore:
        """Read a checkpoint, or see that it is whole; gives what puts it to use.

        Raises:
            OSError, ValueError: it is damaged, or anything else of `DAMAGE`.
        """

    def restore_weights(self, folder: Path) -> None:
        """Put the weights alone to use."""


class FullCheckpointFormat:
    """What one process holds whole."""

    kind = "whole"

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

    def write_rest(self, folder: Path) -> None:
        """Write the optimizer's state and the random numbers'."""
        write_pickle(self._optimizer.state_dict(), folder / _OPTIMIZER)
        write_pickle(random_state(), folder / _RANDOM)

    def has_weights(self, folder: Path) -> bool:
        """Say whether a folder holds weights."""
        return (folder / _WEIGHTS).is_file()

    def read(self, folder: Path) -> Restore:
        """Read a checkpoint into memory; gives what puts it to use."""
        weights = load_file(folder / _WEIGHTS)
        optimizer = read_pickle(folder / _OPTIMIZER)
        random = read_pickle(folder / _RANDOM)

        def restore() -> None:
            self._load(weights)
            self._optimizer.load_state_dict(optimizer)
            set_random_state(random)

        return restore

    def restore_weights(self, folder: Path) -> None:
        """Put the weights alone to use."""
        self._load(load_file(folder / _WEIGHTS))

    def _load(self, weights: Weights) -> None:
        parameters = dict(self._model.named_parameters())
        with torch.no_grad():
            for name, tensor in weights.items():
                parameters[name].copy_(tensor)


class ShardedCheckpointFormat:
    """What every process holds a part of; each method but `read` is for all of them at once."""

    kind = "shards"

    def __init__(self, model: Any, optimizer: Any) -> None:
        self._model = model
        self._optimizer = optimizer

    @property
    def num_bytes(self) -> int:
        """The size of the trained weights, of all processes together."""
        return sum(p.numel() * p.element_size() for _, p in _trained(self._model))

    def write_weights(self, folder: Path) -> None:
        """Write this process's part of the trained weights."""
        _write_parts(dict(_trained(self._model)), folder / _WEIGHT_PARTS)

    def write_rest(self, folder: Path) -> None:
        """Write this process's part of the optimizer's state; one writes the random numbers'."""
        _write_parts(self._optimizer_parts(), folder / _OPTIMIZER_PARTS)
        if torch.distributed.get_rank() == 0:
            write_pickle(random_state(), folder / _RANDOM)

    def has_weights(self, folder: Path) -> bool:
        """Say whether a folder holds weights; what lists them is written after them."""
        return (folder / _WEIGHT_PARTS / ".metadata").is_file()

    def read(self, folder: Path) -> Restore:
        """Read the random numbers' state; parts go straight to where they are used."""
        random = read_pickle(folder / _RANDOM)

        def restore() -> None:
            self.restore_weights(folder)
            _read_parts(self._optimizer_parts(), folder / _OPTIMIZER_PARTS)
            set_random_state(random)

        return restore

    def restore_weights(self, folder: Path) -> None:
        """Put the weights alone to use."""
        _read_parts(dict(_trained(self._model)), folder / _WEIGHT_PARTS)

    def _optimizer_parts(self) -> dict[str, torch.Tensor]:
        """Name AdamW's numbers by their weights', with zeros for what had no gradient yet."""
        parts: dict[str, torch.Tensor] = {}
        for name, parameter in _trained(self._model):
            state = self._optimizer.state[parameter]
            if not state:
                moments = {moment: torch.zeros_like(parameter.detach()) for moment in _MOMENTS}
                state.update(step=torch.tensor(0.0), **moments)
            parts |= {f"{name}.{key}": tensor for key, tensor in state.items()}
        return parts


def _write_parts(parts: Weights, folder: Path) -> None:
    from torch.distributed.checkpoint.state_dict_saver import save

    with _first_failure():
        save({n: p.detach() for n, p in parts.items()}, checkpoint_id=folder)


def _read_parts(parts: Weights, folder: Path) -> None:
    from torch.distributed.checkpoint.state_dict_loader import load

    with _first_failure():
        load({n: p.detach() for n, p in parts.items()}, checkpoint_id=folder)


@contextmanager
def _first_failure() -> Iterator[None]:
    """Raise what failed in a process: torch's own error is no ``Exception`` and passes all by."""
    from torch.distributed.checkpoint.api import CheckpointException

    try:
        yield
    except CheckpointException as error:
        raise next(iter(error.failures.values()))[0] from error


def _trained(model: Any) -> list[tuple[str, torch.nn.Parameter]]:
    return [(name, p) for name, p in model.named_parameters() if p.requires_grad]


def trained_weights(model: Any) -> dict[str, torch.Tensor]:
    """Give the trained weights, in host memory."""
    return {name: p.detach().cpu().contiguous() for name, p in _trained(model)}


def random_state() -> dict[str, Any]:
    """Give the state of this process's random numbers."""
    return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all()}


def set_random_state(state: Mapping[str, Any]) -> None:
    """Go on with random numbers from a state of as many devices, or of the processor alone."""
    torch.set_rng_state(state["cpu"])
    if len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
