"""Samples dealt in shards to whichever of several engines is free, by files that appear once."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

Sample = TypeVar("Sample")

_MAX_SHARD = 64
_SHARDS_PER_ENGINE = 16  # so that the engines end at about the same time


def shard_size_for(num_samples: int, num_engines: int) -> int:
    """Give the size of the shards in which so many engines fetch so many samples."""
    return max(1, min(_MAX_SHARD, num_samples // (num_engines * _SHARDS_PER_ENGINE)))


def claimed(samples: Sequence[Sample], folder: Path, *, size: int) -> Iterator[Sample]:
    """Give the samples of every shard that no other process has claimed before this one asks.

    Every process passes the same samples and size, and the same folder, which holds nothing else.
    """
    folder.mkdir(exist_ok=True)
    for start in range(0, len(samples), size):
        if _claim(folder / str(start)):
            yield from samples[start : start + size]


def _claim(path: Path) -> bool:
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True
