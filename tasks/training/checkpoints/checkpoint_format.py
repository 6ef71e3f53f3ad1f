"""The files of a checkpoint, in the format of torch.distributed.checkpoint.

.metadata, __0_0.distcp, ...   trained weights, optimizer state; one data file per writing process
random.pt                      RNG state of the main process

Another number of processes can resume from a checkpoint, whether the model is sharded or not.
"""

import copy
import pickle
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict import (
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from tasks.model.tensor_files import read_pickle, write_pickle

Restore = Callable[[], None]

_METADATA = ".metadata"
_RANDOM = "random.pt"
DAMAGE = (
    OSError, ValueError, KeyError, TypeError, RuntimeError, EOFError, pickle.UnpicklingError,
)  # fmt: skip


class CheckpointFormat:
    """How the trained weights and the optimizer are written to a folder and restored in place.

    The model is replicated, and the main process alone writes; or it is sharded, and writing and
    restoring are collective.
    """

    def __init__(self, model: Any, optimizer: Any, *, is_sharded: bool) -> None:
        self._model = model
        self._optimizer = optimizer
        self._is_sharded = is_sharded

    @property
    def num_bytes(self) -> int:
        """The size of the trained weights over all processes."""
        return sum(weights.nbytes for weights in trained_weights(self._model).values())

    def write_weights(self, folder: Path) -> None:
        """Write the trained weights."""
        self._save({"weights": trained_weights(self._model)}, folder)

    def write(self, folder: Path) -> None:
        """Write the trained weights, the optimizer state and the RNG state."""
        self._save(self._state(), folder)
        if not self._is_sharded or torch.distributed.get_rank() == 0:
            write_pickle(_random_state(), folder / _RANDOM)

    def has_weights(self, folder: Path) -> bool:
        """Return whether a folder contains weights; their metadata is written last."""
        return (folder / _METADATA).is_file()

    def read(self, folder: Path) -> Restore:
        """Return a function that restores a checkpoint, read before unless the model is sharded.

        Raises:
            OSError, ValueError: it is damaged, or any other error of `DAMAGE`.
        """
        random = read_pickle(folder / _RANDOM)
        state = self._state()
        if not self._is_sharded:  # into a copy, so that a damaged file leaves the training as it is
            state = copy.deepcopy(state)
            self._load(state, folder)

        def restore() -> None:
            if self._is_sharded:
                self._load(state, folder)
            for name, weights in trained_weights(self._model).items():
                weights.copy_(state["weights"][name])
            set_optimizer_state_dict(self._model, self._optimizer, state["optimizer"])
            _set_random_state(random)

        return restore

    def load_weights(self, folder: Path) -> None:
        """Load only the weights into the model."""
        self._load({"weights": trained_weights(self._model)}, folder)

    def _state(self) -> dict[str, Any]:
        _initialize_moments(self._optimizer)
        optimizer = get_optimizer_state_dict(self._model, self._optimizer)
        return {"weights": trained_weights(self._model), "optimizer": optimizer}

    def _save(self, state: dict[str, Any], folder: Path) -> None:
        with _plain_errors():
            save(state, checkpoint_id=folder, no_dist=not self._is_sharded)

    def _load(self, state: dict[str, Any], folder: Path) -> None:
        with _plain_errors():
            load(state, checkpoint_id=folder, no_dist=not self._is_sharded)


def trained_weights(model: Any) -> dict[str, torch.Tensor]:
    """Return the trained weights themselves, or this process's shards, by name.

    torch's ``get_model_state_dict`` does not read 4-bit models (bitsandbytes issue 1405).
    """
    return {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}


def _initialize_moments(optimizer: Any) -> None:
    """Initialize AdamW's state, as it does itself, of parameters that had no gradient yet."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if not (state := optimizer.state[parameter]):
                state["step"] = torch.tensor(0.0)
                state["exp_avg"] = torch.zeros_like(parameter.detach())
                state["exp_avg_sq"] = torch.zeros_like(parameter.detach())


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Raise the first process's error: torch's CheckpointException is not an ``Exception``."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "torch.distributed is disabled")  # one process writes
            yield
    except CheckpointException as error:
        raise next(iter(error.failures.values()))[0] from error


def _random_state() -> dict[str, Any]:
    """Return the RNG state of this process."""
    return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all()}


def _set_random_state(state: Mapping[str, Any]) -> None:
    """Restore the RNG state; that of GPUs only if their number is the same."""
    torch.set_rng_state(state["cpu"])
    if len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
