"""Run the frozen towers once over every segment without stored features, before the first step."""

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
from tasks.training.data.samples import RowReader, micro_batches
from tasks.training.data.towers import encode_rows, move_towers

Row = dict[str, torch.Tensor]
Missing = Mapping[str, SampleRecord]
T = TypeVar("T")

_SHARD_ROWS = 64
_MAX_DISK_FRACTION = 0.9  # of the free disk space, for features


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """Towers, input settings and destination of features, which are stored in ``dtype``.

    ``num_processes`` write features to the same disk; ``report`` takes progress lines.
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
    report: Callable[[str], None]


def missing_samples(encoder: Encoder, samples: Sequence[SampleRecord]) -> Missing:
    """Return the samples without stored features by feature key, one per media content."""
    by_key = {feature_key(sample, encoder.config): sample for sample in samples}
    return {key: by_key[key] for key in encoder.features.missing(by_key)}


def encode_missing(encoder: Encoder, reader: RowReader, missing: Missing) -> bool:
    """Store the features of all readable samples; returns False if the disk is too small.

    Features stored before a kill are reused by the next run.
    """
    move_towers(encoder.thinker, encoder.device)
    shard: dict[str, Row] = {}
    num_encoded, num_bytes = 0, 0
    timer = _Timer()
    for encoded in _encode(encoder, reader, missing, timer):
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
        message = f"stored the towers' features of {num_encoded} segments for all epochs and runs"
        encoder.report(f"{message}: {num_bytes / 2**20:.1f} MiB, {timer}")
    return True


class _Timer:
    """Elapsed time, and the fraction of it spent waiting for an iterator."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._waited = 0.0

    def iterate(self, items: Iterator[T]) -> Iterator[T]:
        """Yield the items, and count the time spent waiting for them."""
        while True:
            started = time.monotonic()
            item = next(items, None)
            self._waited += time.monotonic() - started
            if item is None:
                return
            yield item

    def __str__(self) -> str:
        seconds = time.monotonic() - self._started
        return f"{seconds:.1f} s, {self._waited / max(seconds, 1e-9):.0%} of it waiting for media"


def _encode(
    encoder: Encoder, reader: RowReader, samples: Missing, timer: _Timer
) -> Iterator[dict[str, Row]]:
    """Yield the features of each batch of readable samples by key."""
    groups = list(micro_batches(list(samples.items()), encoder.batch_size))
    batches = reader.iter_batches([[sample for _, sample in group] for group in groups])
    for group, rows in zip(groups, timer.iterate(batches), strict=True):
        readable = {key: row for (key, _), row in zip(group, rows, strict=True) if row is not None}
        if readable:
            encoded = encode_rows(encoder.thinker, list(readable.values()), encoder.pad_token_id)
            stored = (_to_store(row, encoder.dtype) for row in encoded)
            yield dict(zip(readable, stored, strict=True))


def _to_store(row: Row, dtype: torch.dtype) -> Row:
    """Drop the prompt's tokens, which depend on the prompt, and cast features to ``dtype``."""
    return {
        name: tensor.to(dtype) if name.endswith("_features") else tensor
        for name, tensor in row.items()
        if name != "input_ids"
    }


def _fits(encoder: Encoder, num_bytes: int) -> bool:
    """Return whether the disk has room for the features of this and all other processes."""
    needed = num_bytes * encoder.num_processes
    free = shutil.disk_usage(encoder.folder).free
    if needed <= _MAX_DISK_FRACTION * free:
        return True
    encoder.report(
        f"storing the towers' features needs {needed / 2**30:.1f} GiB, but {free / 2**30:.1f} GiB "
        "are free: towers run in every step (resources.finetune.feature_folder sets another disk)"
    )
    return False
