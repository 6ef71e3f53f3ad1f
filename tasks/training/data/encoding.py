"""Before the first step: run the frozen towers over every segment that has no features yet."""

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from storage.records import SampleRecord
from tasks.prompting.model_input import InputConfig
from tasks.training.data.features import FeatureFolder, feature_key
from tasks.training.data.samples import RowReader, pieces
from tasks.training.data.towers import encode_rows, towers_to

Row = dict[str, torch.Tensor]
Missing = Mapping[str, SampleRecord]
T = TypeVar("T")

_SHARD_ROWS = 64
_FREE_FRACTION = 0.9  # of the disk's free space that features may take


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """What makes features: a thinker's towers, the question's settings, the folder they go to.

    Features are kept in ``dtype``; ``say`` gets a line of progress. ``num_processes`` make features
    for the same disk.
    """

    thinker: Any
    pad_token_id: int
    config: InputConfig
    folder: Path
    features: FeatureFolder
    dtype: torch.dtype
    device: torch.device
    batch_size: int
    num_processes: int
    say: Callable[[str], None]


def missing_samples(encoder: Encoder, samples: Sequence[SampleRecord]) -> Missing:
    """Find the samples without features, one for each content, by the key of their features."""
    by_key = {feature_key(sample, encoder.config): sample for sample in samples}
    return {key: by_key[key] for key in encoder.features.missing(by_key)}


def encode_missing(encoder: Encoder, reader: RowReader, missing: Missing) -> bool:
    """Store the features of every sample that can be read; gives False where the disk is short.

    What is stored when the process is killed is found by the next one.
    """
    towers_to(encoder.thinker, encoder.device)
    shard: dict[str, Row] = {}
    num_encoded, num_bytes = 0, 0
    clock = _Clock()
    for encoded in _encode(encoder, reader, missing, clock):
        num_bytes += sum(tensor.nbytes for row in encoded.values() for tensor in row.values())
        if not num_encoded and not _fits(encoder, len(missing) * num_bytes // len(encoded)):
            return False
        num_encoded += len(encoded)
        shard |= encoded
        if len(shard) >= _SHARD_ROWS:
            encoder.features.write(shard)
            shard = {}
    if shard:
        encoder.features.write(shard)
    if num_encoded:
        message = f"towers ran over {num_encoded} segments, once for all epochs and runs"
        encoder.say(f"{message}: {num_bytes / 2**20:.1f} MiB, {clock}")
    return True


class _Clock:
    """How long it has been running, and how much of that was spent waiting."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._waited = 0.0

    def waiting(self, made: Iterator[T]) -> Iterator[T]:
        """Give what is made, and count the time until it is there."""
        while True:
            started = time.monotonic()
            each = next(made, None)
            self._waited += time.monotonic() - started
            if each is None:
                return
            yield each

    def __str__(self) -> str:
        seconds = time.monotonic() - self._started
        return f"{seconds:.1f} s, {self._waited / max(seconds, 1e-9):.0%} of it waiting for media"


def _encode(
    encoder: Encoder, reader: RowReader, samples: Missing, clock: _Clock
) -> Iterator[dict[str, Row]]:
    """Give the features of each batch of readable samples, by key."""
    groups = list(pieces(list(samples.items()), encoder.batch_size))
    batches = reader.iter_batches([[sample for _, sample in group] for group in groups])
    for group, rows in zip(groups, clock.waiting(batches), strict=True):
        there = {key: row for (key, _), row in zip(group, rows, strict=True) if row is not None}
        if there:
            encoded = encode_rows(encoder.thinker, list(there.values()), encoder.pad_token_id)
            yield dict(zip(there, (_stored(row, encoder.dtype) for row in encoded), strict=True))


def _stored(row: Row, dtype: torch.dtype) -> Row:
    """Keep no question, whose tokens are made anew, and features in their own number type."""
    return {
        name: tensor.to(dtype) if name.endswith("_features") else tensor
        for name, tensor in row.items()
        if name != "input_ids"
    }


def _fits(encoder: Encoder, needed_here: int) -> bool:
    """Say whether the disk takes this process's features, and as much from each of the others."""
    needed = needed_here * encoder.num_processes
    free = shutil.disk_usage(encoder.folder).free
    if needed <= _FREE_FRACTION * free:
        return True
    encoder.say(
        f"the towers' features would take {needed / 2**30:.1f} GiB, but {free / 2**30:.1f} GiB are "
        "free: the towers run in every step (resources.finetune.feature_folder names another disk)"
    )
    return False
