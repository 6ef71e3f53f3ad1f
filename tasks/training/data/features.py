"""Features of frozen towers on disk, addressed by the media they were computed from.

    <folder>/<shard>.safetensors    tensors of several rows, named "<key>.<name>"

Shards are written atomically. An unreadable shard is removed and its rows are recomputed; partial
files of killed processes are removed. Several processes may write to one folder.
"""

import contextlib
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from storage.fingerprint import digest_of
from storage.records import SampleRecord
from storage.store.atomic import atomic_file, remove_abandoned
from storage.store.disk import writing_to
from tasks.model.tensor_files import saving_to
from tasks.prompting.model_input import InputConfig
from tasks.training.data import towers

Row = dict[str, torch.Tensor]

_SUFFIX = ".safetensors"


def feature_key(sample: SampleRecord, config: InputConfig) -> str:
    """Digest what determines a segment's features besides the towers: media and preprocessing.

    Prompt and transcript are excluded: features are shared by all of them.
    """
    preprocessing = config.model_dump(exclude={"prompt", "transcript", "answer"})
    return digest_of(towers.VERSION, sample.media_digest, preprocessing)


class FeatureFolder:
    """Feature rows in a local folder, which is created if missing.

    Raises:
        StoreError: the folder cannot be written, or the disk is full.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._shards: dict[str, Path] = {}
        with writing_to(str(folder)):
            folder.mkdir(parents=True, exist_ok=True)
            remove_abandoned(folder)
            for path in sorted(folder.glob(f"*{_SUFFIX}")):
                self._shards |= dict.fromkeys(_keys_of(path), path)

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Return the keys that are not stored, without duplicates, in order."""
        return [key for key in dict.fromkeys(keys) if key not in self._shards]

    def write(self, rows: Mapping[str, Row]) -> None:
        """Write rows by key as one shard."""
        tensors = {
            f"{key}.{name}": tensor.contiguous()
            for key, row in rows.items()
            for name, tensor in row.items()
        }
        path = self._folder / f"{uuid.uuid4().hex}{_SUFFIX}"
        with saving_to(str(self._folder)), atomic_file(path, flush=False) as temporary:
            save_file(tensors, temporary)
        self._shards |= dict.fromkeys(rows, path)

    def read(self, key: str) -> Row | None:
        """Read a row; ``None`` if it is not stored or its shard is gone or damaged."""
        path = self._shards.get(key)
        if path is None:
            return None
        try:
            with safe_open(path, "pt") as shard:
                names = (name for name in shard.keys() if name.startswith(f"{key}."))  # noqa: SIM118
                return {name.removeprefix(f"{key}."): shard.get_tensor(name) for name in names}
        except (SafetensorError, OSError):
            self._shards = {k: shard for k, shard in self._shards.items() if shard != path}
            return None


def _keys_of(path: Path) -> set[str]:
    """Return a shard's keys; a damaged shard is removed and has none."""
    try:
        with safe_open(path, "pt") as shard:
            return {name.partition(".")[0] for name in shard.keys()}  # noqa: SIM118
    except SafetensorError:
        with contextlib.suppress(OSError):
            path.unlink()
        return set()
    except OSError:  # a disk error or too many open files: the shard may be intact
        return set()
