"""Checkpoints of a running training: whole or absent, the last ones and the best kept.

    step-000040/   weights, optimizer's state, random numbers' state (see `contents`), progress.json
    best-000020/   weights

A checkpoint is written under a temporary name and renamed. ``progress.json`` names the best step;
that one's folder is there before the checkpoint that names it, and goes only after one that does
not. It names the size of each file, too.
"""

import contextlib
import errno
import fcntl
import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path

from storage.errors import StageError, StoreError
from storage.results import TrainingStepRecord
from storage.store.atomic import replace_folder
from storage.store.disk import writing_to
from tasks.model.tensor_files import saving_to
from tasks.processes.child_frame import is_lack_of_memory
from tasks.training.checkpoints.formats import (
    DAMAGE,
    CheckpointFormat,
    FullCheckpointFormat,
    Restore,
)
from tasks.training.distributed.ranks import Ranks

_PROGRESS = "progress.json"
_UNFINISHED = ".tmp"
_NO_LOCKS_HERE = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)
_HELD: dict[Path, int] = {}


@dataclass(slots=True, kw_only=True)
class Progress:
    """How far a training is: the data position and the schedule follow from ``step``."""

    step: int = 0
    best_step: int = 0
    best_score: tuple[float, float] | None = None
    num_worse: int = 0
    stopped_early: bool = False
    log: list[TrainingStepRecord] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A whole checkpoint: how far it is, and what brings model and optimizer there."""

    progress: Progress
    restore: Restore


class Checkpoints:
    """The checkpoints of one training, in a folder of its own.

    The process that opens the folder holds it to its end, however it ends; others that train with
    it open it only ``to_read``, after it. Given ``ranks``, all of these write together.

    Raises:
        StageError: another process holds the folder.
    """

    def __init__(
        self,
        folder: Path,
        identity: str,
        *,
        num_kept: int = 1,
        to_read: bool = False,
        ranks: Ranks | None = None,
    ) -> None:
        self._folder = folder
        self._identity = identity
        self._num_kept = num_kept
        self._to_read = to_read
        self._ranks = ranks
        if to_read:
            return
        with writing_to(str(folder)):
            folder.mkdir(parents=True, exist_ok=True)
            _hold(folder.resolve())
            for unfinished in folder.glob(f"*{_UNFINISHED}"):
                shutil.rmtree(unfinished)

    def save_best(self, step: int, contents: CheckpointFormat) -> None:
        """Keep the weights of a step that is better than all before it.

        Of those, what no checkpoint goes on with goes: checkpoints may be hours apart.
        """
        name = f"best-{step:06d}"
        self._write(name, contents)
        self._remove("best-*", keep=self._names_to_keep() | {name})

    def save_last(self, progress: Progress, contents: CheckpointFormat) -> None:
        """Write where the training stands, then remove what it does not need any more."""
        self._write(f"step-{progress.step:06d}", contents, progress)
        self._remove("*", keep=self._names_to_keep())

    def _remove(self, pattern: str, *, keep: set[str]) -> None:
        if self._to_read:
            return
        for folder in self._folder.glob(pattern):
            if folder.name not in keep:
                shutil.rmtree(folder)

    def _names_to_keep(self) -> set[str]:
        """Name the last checkpoints, and of each the best weights that it goes on with."""
        keep: set[str] = set()
        for folder in sorted(self._folder.glob("step-*"))[-self._num_kept :]:
            with contextlib.suppress(*DAMAGE):
                best_step = int(json.loads((folder / _PROGRESS).read_bytes())["best_step"])
                keep |= {folder.name, f"best-{best_step:06d}"}
        return keep

    def find_last(self, contents: CheckpointFormat) -> Found | None:
        """Find the last whole checkpoint, if there is one.

        Raises:
            StageError: the checkpoint is of another training, or is laid out in another way.
        """
        for folder in sorted(self._folder.glob("step-*"), reverse=True):
            try:
                progress, identity, kind = _read_progress(folder)
                self._check(folder, identity, kind, contents)
                restore = contents.read(folder)
            except DAMAGE as error:  # as if it were absent: what it holds is made again
                if is_lack_of_memory(error):
                    raise
                if not self._to_read:
                    shutil.rmtree(folder, ignore_errors=True)
                continue
            if progress.best_score is None or contents.has_weights(self._best_of(progress)):
                return Found(progress=progress, restore=restore)
        return None

    def _check(self, folder: Path, identity: str, kind: str, contents: CheckpointFormat) -> None:
        if identity != self._identity:
            raise StageError(
                f"The checkpoint {str(folder)!r} is of a training with other settings, data or "
                "base model: remove its folder, or name another checkpoint_folder."
            )
        if kind != contents.kind:
            raise StageError(
                f"The checkpoint {str(folder)!r} holds {kind!r}, but a training with these "
                f"resources goes on from {contents.kind!r}: set resources.finetune.sharding and "
                "num_processes as they were, or remove its folder."
            )

    def _best_of(self, progress: Progress) -> Path:
        return self._folder / f"best-{progress.best_step:06d}"

    def load_best(self, progress: Progress, contents: CheckpointFormat) -> None:
        """Bring the model from the last step's weights to those of the best."""
        if progress.best_step != progress.step:
            contents.restore_weights(self._best_of(progress))

    def _write(
        self, name: str, contents: CheckpointFormat, progress: Progress | None = None
    ) -> None:
        folder = self._folder / (name + _UNFINISHED)
        with saving_to(str(self._folder)):
            if not self._to_read:
                self._check_space(contents.num_bytes, with_optimizer=progress is not None)
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
            self._wait()
            contents.write_weights(folder)
            if progress:
                contents.write_rest(folder)
            self._wait()
            if not self._to_read:
                if progress:
                    self._write_progress(folder, progress, contents.kind)
                replace_folder(folder, self._folder / name)

    def _wait(self) -> None:
        if self._ranks is not None:
            self._ranks.wait()

    def _write_progress(self, folder: Path, progress: Progress, kind: str) -> None:
        about = {"identity": self._identity, "kind": kind, "sizes": _sizes(folder)}
        (folder / _PROGRESS).write_text(json.dumps(asdict(progress) | about), encoding="utf-8")

    def _check_space(self, num_bytes: int, *, with_optimizer: bool) -> None:
        """AdamW holds two numbers for each trained one."""
        size = num_bytes * (3 if with_optimizer else 1)
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


def _read_progress(folder: Path) -> tuple[Progress, str, str]:
    """Give a checkpoint's progress, its training's identity and the kind of its contents.

    Raises:
        ValueError: a file is not what it was when it was written, or anything else of `DAMAGE`.
    """
    written = json.loads((folder / _PROGRESS).read_bytes())
    identity, kind = written.pop("identity"), written.pop("kind", FullCheckpointFormat.kind)
    sizes = written.pop("sizes", {})
    if {name: size for name, size in _sizes(folder).items() if name in sizes} != sizes:
        raise ValueError("files are gone or cut")
    written["log"] = [TrainingStepRecord(**row) for row in written["log"]]
    if written["best_score"] is not None:
        written["best_score"] = tuple(written["best_score"])
    return Progress(**written), identity, kind


def _sizes(folder: Path) -> dict[str, int]:
    return {str(p.relative_to(folder)): p.stat().st_size for p in folder.rglob("*") if p.is_file()}
