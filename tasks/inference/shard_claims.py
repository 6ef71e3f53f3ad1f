"""Claiming samples in shards: each of several engines takes the next shard nobody has claimed.

A claim is a file that only one process can create.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

Sample = TypeVar("Sample")

_MAX_SHARD_SIZE = 64
_SHARDS_PER_ENGINE = 16  # all engines finish at about the same time


def shard_size_for(num_samples: int, num_engines: int) -> int:
    """Choose the number of samples that an engine claims at once."""
    return max(1, min(_MAX_SHARD_SIZE, num_samples // (num_engines * _SHARDS_PER_ENGINE)))


def claim_samples(samples: Sequence[Sample], folder: Path, *, size: int) -> Iterator[Sample]:
    """Claim shard after shard and yield their samples, skipping shards of other processes.

    All processes pass the same samples, size and folder; the folder contains nothing else.
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
