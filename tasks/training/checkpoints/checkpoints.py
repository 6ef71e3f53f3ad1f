"""Checkpoints of a running training: the last ones and the best weights.

    step-000040/   weights, optimizer state, RNG state (see `checkpoint_format`), progress.json
    best-000020/   weights

Checkpoints are written to a temporary folder, which is renamed. ``progress.json`` contains the size
of each file and the best step, whose folder is written before the checkpoints that refer to it and
removed after them.
"""

import contextlib
import errno
import fcntl
import json
import os
import shutil
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path

from storage.errors import StageError, StoreError
from storage.results import TrainingStepRecord
from storage.store.atomic import replace_folder
from storage.store.disk import writing_to
from tasks.model.tensor_files import saving_to
from tasks.processes.child_frame import is_lack_of_memory
from tasks.training.checkpoints.checkpoint_format import DAMAGE, CheckpointFormat, Restore
from tasks.training.distributed.ranks import Ranks

_PROGRESS = "progress.json"
_TMP_SUFFIX = ".tmp"
_SMALL_BYTES = 1 << 24
_NO_LOCK_SUPPORT = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)
_LOCKS: dict[Path, int] = {}


@dataclass(slots=True, kw_only=True)
class Progress:
    """Training progress; the position in the data and in the schedule follow from ``step``."""

    step: int = 0
    best_step: int = 0
    best_score: tuple[float, float] | None = None
    num_worse: int = 0
    stopped_early: bool = False
    log: list[TrainingStepRecord] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundCheckpoint:
    """A complete checkpoint: its progress, and a function that restores model and optimizer."""

    progress: Progress
    restore: Restore


class Checkpoints:
    """The checkpoints of one training in its own folder.

    The main process locks the folder until it exits; the others of the training open it afterwards
    with ``read_only``. With ``ranks``, all of them write shards of each checkpoint.

    Raises:
        StageError: another run has locked the folder.
    """

    def __init__(
        self,
        folder: Path,
        identity: str,
        *,
        num_kept: int = 1,
        read_only: bool = False,
        ranks: Ranks | None = None,
    ) -> None:
        self._folder = folder
        self._identity = identity
        self._num_kept = num_kept
        self._read_only = read_only
        self._ranks = ranks
        if read_only:
            return
        with writing_to(str(folder)):
            folder.mkdir(parents=True, exist_ok=True)
            _lock(folder.resolve())
            for partial in folder.glob(f"*{_TMP_SUFFIX}"):
                shutil.rmtree(partial)

    def save_best(self, step: int, checkpoint_format: CheckpointFormat) -> None:
        """Save the best weights so far, and remove earlier ones that no checkpoint refers to.

        They are removed here, since checkpoints may be hours apart.
        """
        name = f"best-{step:06d}"
        self._write(name, checkpoint_format)
        self._remove("best-*", keep=self._names_to_keep() | {name})

    def save_last(self, progress: Progress, checkpoint_format: CheckpointFormat) -> None:
        """Write a checkpoint, then remove what is no longer needed."""
        self._write(f"step-{progress.step:06d}", checkpoint_format, progress)
        self._remove("*", keep=self._names_to_keep())

    def _remove(self, pattern: str, *, keep: set[str]) -> None:
        if self._read_only:
            return
        for folder in self._folder.glob(pattern):
            if folder.name not in keep:
                shutil.rmtree(folder)

    def _names_to_keep(self) -> set[str]:
        """Return the names of the last checkpoints and of the best weights they refer to."""
        keep: set[str] = set()
        for folder in sorted(self._folder.glob("step-*"))[-self._num_kept :]:
            with contextlib.suppress(*DAMAGE):
                best_step = int(json.loads((folder / _PROGRESS).read_bytes())["best_step"])
                keep |= {folder.name, f"best-{best_step:06d}"}
        return keep

    def find_last(self, checkpoint_format: CheckpointFormat) -> FoundCheckpoint | None:
        """Find the last complete checkpoint, if any.

        Raises:
            StageError: the checkpoint is of another training.
        """
        for folder in sorted(self._folder.glob("step-*"), reverse=True):
            try:
                progress, identity = _read_progress(folder)
                self._check_identity(folder, identity)
                restore = checkpoint_format.read(folder)
            except DAMAGE as error:  # treated as absent: its steps are repeated
                if is_lack_of_memory(error):
                    raise
                if not self._read_only:
                    shutil.rmtree(folder, ignore_errors=True)
                continue
            best_path = self._best_path(progress)
            if progress.best_score is None or checkpoint_format.has_weights(best_path):
                return FoundCheckpoint(progress=progress, restore=restore)
        return None

    def _check_identity(self, folder: Path, identity: str) -> None:
        if identity != self._identity:
            raise StageError(
                f"The checkpoint {str(folder)!r} is of a training with other settings, data or "
                "base model: remove its folder, or set another checkpoint_folder."
            )

    def _best_path(self, progress: Progress) -> Path:
        return self._folder / f"best-{progress.best_step:06d}"

    def load_best(self, progress: Progress, checkpoint_format: CheckpointFormat) -> None:
        """Load the best weights into the model, which has those of the last step."""
        if progress.best_step != progress.step:
            checkpoint_format.load_weights(self._best_path(progress))

    def _write(
        self, name: str, checkpoint_format: CheckpointFormat, progress: Progress | None = None
    ) -> None:
        folder = self._folder / (name + _TMP_SUFFIX)
        with saving_to(str(self._folder)):
            if not self._read_only:
                self._check_space(checkpoint_format.num_bytes, with_optimizer=progress is not None)
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
            self._barrier()
            if progress:
                checkpoint_format.write(folder)
            else:
                checkpoint_format.write_weights(folder)
            self._barrier()
            if not self._read_only:
                if progress:
                    self._write_progress(folder, progress)
                replace_folder(folder, self._folder / name)

    def _barrier(self) -> None:
        if self._ranks is not None:
            self._ranks.barrier()

    def _write_progress(self, folder: Path, progress: Progress) -> None:
        metadata = {"identity": self._identity, "checksums": _checksums(folder)}
        (folder / _PROGRESS).write_text(json.dumps(asdict(progress) | metadata), encoding="utf-8")

    def _check_space(self, num_bytes: int, *, with_optimizer: bool) -> None:
        """Raise if the disk is too small; AdamW has two moments per trained parameter."""
        size = num_bytes * (3 if with_optimizer else 1)
        free = shutil.disk_usage(self._folder).free
        if size > free:
            raise StoreError(
                f"A checkpoint in {str(self._folder)!r} needs {size / 2**20:.0f} MiB, but "
                f"{free / 2**20:.0f} MiB are free: free some space, or set another folder with "
                "resources.finetune.checkpoint_folder."
            )


def _lock(folder: Path) -> None:
    """Lock a folder by a file beside it, since files inside it are removed."""
    if folder in _LOCKS:
        return
    lock = os.open(folder.with_name(f"{folder.name}.lock"), os.O_CREAT | os.O_RDWR, 0o666)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise StageError(
            f"Another run is training in {str(folder)!r}: run again after it ends, or set another "
            "folder with resources.finetune.checkpoint_folder."
        ) from error
    except OSError as error:
        if error.errno not in _NO_LOCK_SUPPORT:
            os.close(lock)
            raise
    _LOCKS[folder] = lock


def _read_progress(folder: Path) -> tuple[Progress, str]:
    """Return a checkpoint's progress and its training's identity.

    Raises:
        ValueError: a file is missing or damaged, or any other error of `DAMAGE`.
    """
    written = json.loads((folder / _PROGRESS).read_bytes())
    identity, checksums = written.pop("identity"), written.pop("checksums")
    found = _checksums(folder)
    if {name: found.get(name) for name in checksums} != checksums:
        raise ValueError("files are missing or damaged")
    written["log"] = [TrainingStepRecord(**row) for row in written["log"]]
    if written["best_score"] is not None:
        written["best_score"] = tuple(written["best_score"])
    return Progress(**written), identity


def _checksums(folder: Path) -> dict[str, list[int]]:
    """Return each file's size and, of a small file, its CRC; torch checks that of the tensors."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): _checksum(path) for path in paths}


def _checksum(path: Path) -> list[int]:
    size = path.stat().st_size
    return [size, zlib.crc32(path.read_bytes()) if size <= _SMALL_BYTES else 0]
