"""Checkpoints of a running training: whole or absent, the last ones and the best kept.

    step-000040/   weights.safetensors (trained weights), optimizer.pt, random.pt, progress.json
    best-000020/   weights.safetensors

A checkpoint is written under a temporary name and renamed. ``progress.json`` names the best step;
that one's folder is there before the checkpoint that names it, and goes only after one that does
not.
"""

import contextlib
import errno
import fcntl
import json
import os
import pickle
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from storage.errors import StageError, StoreError
from storage.results import TrainingStepRecord
from storage.store import writing_to

Weights = Mapping[str, torch.Tensor]

_WEIGHTS = "weights.safetensors"
_OPTIMIZER = "optimizer.pt"
_RANDOM = "random.pt"
_PROGRESS = "progress.json"
_UNFINISHED = ".tmp"
_NO_LOCKS_HERE = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)
_HELD: dict[Path, int] = {}
_DAMAGE = (
    OSError, ValueError, KeyError, TypeError, RuntimeError, EOFError, SafetensorError,
    pickle.UnpicklingError,
)  # fmt: skip


@dataclass(slots=True, kw_only=True)
class Progress:
    """How far a training is: the data position and the schedule follow from ``step``."""

    step: int = 0
    best_step: int = 0
    best_score: tuple[float, float] | None = None
    num_worse: int = 0
    stopped_early: bool = False
    log: list[TrainingStepRecord] = field(default_factory=list)


class Checkpoints:
    """The checkpoints of one training, in a folder of its own.

    The process that opens the folder holds it to its end, however it ends; others that train with
    it open it only ``to_read``, after it.

    Raises:
        StageError: another process holds the folder.
    """

    def __init__(
        self, folder: Path, identity: str, *, num_kept: int = 1, to_read: bool = False
    ) -> None:
        self._folder = folder
        self._identity = identity
        self._num_kept = num_kept
        self._to_read = to_read
        if to_read:
            return
        with writing_to(str(folder)):
            folder.mkdir(parents=True, exist_ok=True)
            _hold(folder.resolve())
            for unfinished in folder.glob(f"*{_UNFINISHED}"):
                shutil.rmtree(unfinished)

    def save_best(self, step: int, weights: Weights) -> None:
        """Keep the weights of a step that is better than all before it."""
        self._write(f"best-{step:06d}", weights, {})

    def save_last(self, progress: Progress, weights: Weights, optimizer: Any) -> None:
        """Write where the training stands, then remove what it does not need any more."""
        name = f"step-{progress.step:06d}"
        state = {_OPTIMIZER: optimizer.state_dict(), _RANDOM: _random_state()}
        self._write(name, weights, state, progress)
        keep = self._names_to_keep()
        for folder in self._folder.iterdir():
            if folder.name not in keep:
                shutil.rmtree(folder)

    def _names_to_keep(self) -> set[str]:
        """Name the last checkpoints, and of each the best weights that it goes on with."""
        keep: set[str] = set()
        for folder in sorted(self._folder.glob("step-*"))[-self._num_kept :]:
            with contextlib.suppress(*_DAMAGE):
                best_step = int(json.loads((folder / _PROGRESS).read_bytes())["best_step"])
                keep |= {folder.name, f"best-{best_step:06d}"}
        return keep

    def load_last(self, model: Any, optimizer: Any) -> Progress | None:
        """Bring model, optimizer and random numbers to the last whole checkpoint, if there is one.

        Raises:
            StageError: the checkpoint is of another training.
        """
        for folder in sorted(self._folder.glob("step-*"), reverse=True):
            try:
                stored = _Stored.read(folder)
            except _DAMAGE:  # as if it were absent: what it holds is made again
                if not self._to_read:
                    shutil.rmtree(folder, ignore_errors=True)
                continue
            if stored.identity != self._identity:
                raise StageError(
                    f"The checkpoint {str(folder)!r} is of a training with other settings, data or "
                    "base model: remove its folder, or name another checkpoint_folder."
                )
            if not self._has_best_of(stored.progress):
                continue
            load_weights(model, stored.weights)
            optimizer.load_state_dict(stored.optimizer)
            _set_random_state(stored.random)
            return stored.progress
        return None

    def _has_best_of(self, progress: Progress) -> bool:
        best = self._folder / f"best-{progress.best_step:06d}" / _WEIGHTS
        return progress.best_score is None or best.is_file()

    def load_best(self, progress: Progress, model: Any) -> None:
        """Bring the model from the last step's weights to those of the best."""
        if progress.best_step != progress.step:
            folder = self._folder / f"best-{progress.best_step:06d}"
            load_weights(model, load_file(folder / _WEIGHTS))

    def _write(
        self,
        name: str,
        weights: Weights,
        states: Mapping[str, Any],
        progress: Progress | None = None,
    ) -> None:
        folder = self._folder / (name + _UNFINISHED)
        with writing_to(str(self._folder)):
            self._check_space(weights, with_optimizer=bool(states))
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            save_file(dict(weights), folder / _WEIGHTS)
            for file_name, state in states.items():
                torch.save(state, folder / file_name)
            if progress:
                stored = asdict(progress) | {"identity": self._identity}
                (folder / _PROGRESS).write_text(json.dumps(stored), encoding="utf-8")
            _flush(folder)
            shutil.rmtree(self._folder / name, ignore_errors=True)
            folder.rename(self._folder / name)

    def _check_space(self, weights: Weights, *, with_optimizer: bool) -> None:
        """AdamW holds two numbers for each trained one."""
        size = sum(tensor.nbytes for tensor in weights.values()) * (3 if with_optimizer else 1)
        free = shutil.disk_usage(self._folder).free
        if size > free:
            raise StoreError(
                f"A checkpoint needs {size / 2**20:.0f} MiB in {str(self._folder)!r}, where "
                f"{free / 2**20:.0f} MiB are free: free some space, or name another folder with "
                "resources.finetune.checkpoint_folder."
            )


def _hold(folder: Path) -> None:
    """Lock a folder by a file beside it, since what lies in it comes and goes."""
    if folder in _HELD:
        return
    lock = os.open(folder.with_name(f"{folder.name}.lock"), os.O_CREAT | os.O_RDWR, 0o666)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise StageError(
            f"Another run is training in {str(folder)!r}: wait for its end and run again, or name "
            "another place with resources.finetune.checkpoint_folder."
        ) from error
    except OSError as error:
        if error.errno not in _NO_LOCKS_HERE:
            os.close(lock)
            raise
    _HELD[folder] = lock


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """A checkpoint's content, read whole before any of it is put to use."""

    identity: str
    progress: Progress
    weights: Weights
    optimizer: Any
    random: Any

    @classmethod
    def read(cls, folder: Path) -> "_Stored":
        written = json.loads((folder / _PROGRESS).read_bytes())
        identity = written.pop("identity")
        written["log"] = [TrainingStepRecord(**row) for row in written["log"]]
        if written["best_score"] is not None:
            written["best_score"] = tuple(written["best_score"])
        return cls(
            identity=identity,
            progress=Progress(**written),
            weights=load_file(folder / _WEIGHTS),
            optimizer=torch.load(folder / _OPTIMIZER, weights_only=True),
            random=torch.load(folder / _RANDOM, weights_only=True),
        )


def trained_weights(model: Any) -> dict[str, torch.Tensor]:
    """Give the trained weights, in host memory."""
    return {
        name: parameter.detach().cpu().contiguous()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


def load_weights(model: Any, weights: Weights) -> None:
    """Put trained weights back into the model they came from."""
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, tensor in weights.items():
            parameters[name].copy_(tensor)


def _random_state() -> dict[str, Any]:
    return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all()}


def _set_random_state(state: Mapping[str, Any]) -> None:
    torch.set_rng_state(state["cpu"])
    if len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])


def _flush(folder: Path) -> None:
    """Bring a folder's files to the disk, so that a rename never names an empty one."""
    for path in folder.iterdir():
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
