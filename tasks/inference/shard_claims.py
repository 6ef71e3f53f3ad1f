"""Claiming samples in shards: each of several engines takes the next shard nobody has claimed.

A claim is a file that only one process can create, in a folder that all engines see. It names its
owner: an engine that is started again after its node was lost continues with its own claims.
"""

import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from storage.store.atomic import temporary_name
from storage.store.remote.files import RemoteFiles
from storage.store.url import local_root

Sample = TypeVar("Sample")

_NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
_MAX_SHARD_SIZE = 64
_SHARDS_PER_ENGINE = 16  # all engines finish at about the same time


def shard_size_for(num_samples: int, num_engines: int) -> int:
    """Choose the number of samples that an engine claims at once."""
    return max(1, min(_MAX_SHARD_SIZE, num_samples // (num_engines * _SHARDS_PER_ENGINE)))


def claim_samples(
    samples: Sequence[Sample], url: str, *, size: int, owner: int
) -> Iterator[Sample]:
    """Claim shard after shard and yield their samples, skipping shards of other owners.

    All owners pass the same samples, size and ``url``, of a folder that contains nothing else.
    """
    claims = Claims(url)
    own = claims.of(owner)
    taken = claims.all() - own
    for start in range(0, len(samples), size):
        if start in taken:
            continue
        if start in own or claims.claim(start, owner):
            yield from samples[start : start + size]
        else:
            taken = claims.all() - own  # a listing is faster than as many attempts


class Claims:
    """Numbers that are claimed, each a file in one folder of a local path or fsspec URL.

    Raises:
        StoreError: a remote folder cannot be reached or used; so do all methods.
    """

    def __init__(self, url: str) -> None:
        self._folder = local_root(url)
        self._files = None if self._folder else RemoteFiles(url)
        if self._folder:
            self._folder.mkdir(parents=True, exist_ok=True)

    def claim(self, number: int, owner: int) -> bool:
        """Claim a number, and return whether nobody else had."""
        name, content = str(number), str(owner).encode()
        if self._files:
            return self._files.create(name, content)
        try:
            _create(self._path_of(name), content)
        except FileExistsError:
            return False
        return True

    def all(self) -> set[int]:
        """Return all claimed numbers."""
        return {int(name) for name in self._names()}

    def of(self, owner: int) -> set[int]:
        """Return the numbers that this owner claimed earlier."""
        return {int(name) for name in self._names() if self._read(name) == str(owner).encode()}

    def _names(self) -> list[str]:
        if self._files:
            return list(self._files.list_tree(""))
        return [path.name for path in self._path_of("").iterdir()]

    def _read(self, name: str) -> bytes:
        return self._files.read(name) if self._files else self._path_of(name).read_bytes()

    def _path_of(self, name: str) -> Path:
        assert self._folder is not None
        return self._folder / name


def _create(path: Path, content: bytes) -> None:
    """Create a file, with its content in one step; raise FileExistsError if there is one.

    Where there are no hard links the content follows: if the engine is killed in between, nobody
    continues its claim, and the next run predicts those segments.
    """
    temporary = path.parent.parent / f".{temporary_name()}"
    temporary.write_bytes(content)
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        with path.open("xb") as file:
            file.write(content)
    finally:
        temporary.unlink()
