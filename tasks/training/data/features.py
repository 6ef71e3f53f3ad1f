"""Features of frozen towers on disk, by what they were made from, so that towers run once.

    <folder>/<shard>.safetensors    the tensors of some rows, each named "<key>.<name>"

A shard is written under a temporary name and renamed: it is whole or absent. One that cannot be
read is removed, and its rows are made again, and so is what a killed process had begun to write.
Many processes may write to one folder.
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

Row = dict[str, torch.Tensor]

_MADE = 1  # raised when the same towers make other features of the same segment
_ENDING = ".safetensors"


def feature_key(sample: SampleRecord, config: InputConfig) -> str:
    """Digest what decides a segment's features besides the towers: its media, as they are shown.

    Prompt and words are no part of it: the same features serve any question about the segment, and
    any transcript of it.
    """
    shown = config.model_dump(exclude={"prompt", "transcript", "answer"})
    return digest_of(_MADE, sample.media_digest, shown)


class FeatureFolder:
    """Rows of tensors in a local folder, made if it is not there.

    Raises:
        StoreError: the folder cannot be written, or the disk is full.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._shards: dict[str, Path] = {}
        with writing_to(str(folder)):
            folder.mkdir(parents=True, exist_ok=True)
            remove_abandoned(folder)
            for path in sorted(folder.glob(f"*{_ENDING}")):
                self._shards |= dict.fromkeys(_keys_of(path), path)

    def missing(self, keys: Iterable[str]) -> list[str]:
        """List the keys that are not there, each once and in order."""
        return [key for key in dict.fromkeys(keys) if key not in self._shards]

    def write(self, rows: Mapping[str, Row]) -> None:
        """Write rows by key as one shard."""
        tensors = {
            f"{key}.{name}": tensor.contiguous()
            for key, row in rows.items()
            for name, tensor in row.items()
        }
        path = self._folder / f"{uuid.uuid4().hex}{_ENDING}"
        with saving_to(str(self._folder)), atomic_file(path, flush=False) as unfinished:
            save_file(tensors, unfinished)
        self._shards |= dict.fromkeys(rows, path)

    def read(self, key: str) -> Row | None:
        """Read a row; ``None`` if it is not there or its shard went or broke since."""
        path = self._shards.get(key)
        if path is None:
            return None
        try:
            with safe_open(path, "pt") as shard:
                mine = (name for name in shard.keys() if name.startswith(f"{key}."))  # noqa: SIM118
                return {name.removeprefix(f"{key}."): shard.get_tensor(name) for name in mine}
        except (SafetensorError, OSError):
            self._shards = {
                known: location for known, location in self._shards.items() if location != path
            }
            return None


def _keys_of(path: Path) -> set[str]:
    """List a shard's keys; a broken one is removed and has none."""
    try:
        with safe_open(path, "pt") as shard:
            return {name.partition(".")[0] for name in shard.keys()}  # noqa: SIM118
    except SafetensorError:
        with contextlib.suppress(OSError):
            path.unlink()
        return set()
    except OSError:  # the disk's fault, or the limit of open files: it may be whole
        return set()
