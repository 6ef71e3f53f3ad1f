"""Sampling order, prefetching and collation of training samples."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

import numpy as np
import torch

from storage.errors import ItemFault, StageError
from storage.records import SampleRecord
from tasks.processes.prefetch import prefetch
from tasks.training.data.towers import collate_features

T = TypeVar("T")
Row = dict[str, torch.Tensor]
_BATCHES_AHEAD = 2
_MAX_UNREADABLE_FRACTION = 0.01


class SampleOrder:
    """An endless order of training samples, with random access by step.

    Every epoch is a new permutation. If ``balanced``, negatives and positives alternate, each class
    with its own epochs.
    """

    def __init__(
        self, labels: Sequence[int], *, batch_size: int, seed: int, balanced: bool
    ) -> None:
        indices = np.arange(len(labels))
        classes = np.asarray(labels)
        self._groups = [indices[classes == label] for label in (0, 1)] if balanced else [indices]
        self._batch_size = batch_size
        self._seed = seed
        self._permutations: dict[tuple[int, int], Any] = {}

    def batch(self, step: int) -> list[int]:
        """Return the indices of a step's samples; the first step is 1."""
        first = (step - 1) * self._batch_size
        return [self._at(position) for position in range(first, first + self._batch_size)]

    def _at(self, position: int) -> int:
        group_position, group_index = divmod(position, len(self._groups))
        group = self._groups[group_index]
        epoch, index = divmod(group_position, len(group))
        return int(group[self._permutation(group_index, epoch)[index]])

    def _permutation(self, group_index: int, epoch: int) -> Any:
        key = (group_index, epoch)
        if key not in self._permutations:
            self._permutations.pop((group_index, epoch - 2), None)
            generator = np.random.default_rng((self._seed, *key))
            self._permutations[key] = generator.permutation(len(self._groups[group_index]))
        return self._permutations[key]


class RowReader:
    """Prefetches the model input rows of samples through an executor.

    ``make`` runs in the executor. Rows are cached up to ``cache_bytes`` in total. Unreadable
    samples are skipped and counted.

    Raises:
        StageError: more than 1% of the samples cannot be read, or a decoding process died.
    """

    def __init__(
        self,
        make: Callable[[SampleRecord], Mapping[str, Any] | ItemFault],
        executor: Executor,
        *,
        num_samples: int,
        cache_bytes: int,
    ) -> None:
        self._make = make
        self._executor = executor
        self._num_samples = num_samples
        self._free_bytes = cache_bytes
        self._cache: dict[str, Row | None] = {}
        self._unreadable: set[str] = set()

    @property
    def unreadable(self) -> frozenset[str]:
        """The ids of the segments skipped so far."""
        return frozenset(self._unreadable)

    def add_unreadable(self, segment_ids: Iterable[Set[str]]) -> None:
        """Add the segments that other processes skipped, and check the limit."""
        self._unreadable = self._unreadable.union(*segment_ids)
        self._check_unreadable()

    def iter_batches(self, batches: Sequence[Sequence[SampleRecord]]) -> Iterator[list[Row | None]]:
        """Yield each batch's rows, ``None`` for unreadable ones, while the next are prefetched."""
        largest = max((len(batch) for batch in batches), default=0)
        samples = itertools.chain.from_iterable(batches)
        prefetching = prefetch(samples, self._submit, _BATCHES_AHEAD * largest)
        try:
            for batch in batches:
                yield [self._row(*each) for each in itertools.islice(prefetching, len(batch))]
        except BrokenProcessPool as error:
            raise StageError(
                "A decoding process died, most likely out of memory: lower "
                "resources.finetune.num_decoders (0 decodes in a thread) or cache_mib."
            ) from error

    def _submit(self, sample: SampleRecord) -> Future[Any]:
        if sample.segment_id not in self._cache:
            return self._executor.submit(self._make, sample)
        cached: Future[Any] = Future()
        cached.set_result(None)
        return cached

    def _row(
        self, sample: SampleRecord, arrays: Mapping[str, Any] | ItemFault | None
    ) -> Row | None:
        if sample.segment_id in self._cache:
            return self._cache[sample.segment_id]
        if arrays is None or isinstance(arrays, ItemFault):
            self._skip(sample, arrays)
            return None
        row = {name: torch.as_tensor(values) for name, values in arrays.items()}
        size = sum(tensor.nbytes for tensor in row.values())
        if size <= self._free_bytes:
            self._free_bytes -= size
            self._cache[sample.segment_id] = row
        return row

    def _skip(self, sample: SampleRecord, fault: ItemFault | None) -> None:
        self._cache[sample.segment_id] = None
        self._unreadable.add(sample.segment_id)
        self._check_unreadable(fault)

    def _check_unreadable(self, fault: ItemFault | None = None) -> None:
        if len(self._unreadable) > _MAX_UNREADABLE_FRACTION * self._num_samples:
            raise StageError(
                f"{len(self._unreadable)} of {self._num_samples} samples have no readable video or "
                "audio, expected at most 1%: recompute their segments with --force segment."
            ) from fault


def collate(
    rows: Sequence[Row | None], targets: Sequence[int], pad_token_id: int
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Collate readable rows into a batch for the thinker and their target token ids [batch]."""
    pairs = [(row, target) for row, target in zip(rows, targets, strict=True) if row is not None]
    batch = collate_features([row for row, _ in pairs], pad_token_id)
    return batch, torch.tensor([target for _, target in pairs])


def micro_batches(batch: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Split a batch, in order, into micro-batches of at most ``size``."""
    for start in range(0, len(batch), size):
        yield batch[start : start + size]


def sort_by_length(
    rows: Sequence[Row | None], samples: Sequence[SampleRecord]
) -> list[tuple[Row | None, SampleRecord]]:
    """Pair rows with their samples, sorted by length; unreadable rows come first."""
    pairs = zip(rows, samples, strict=True)
    return sorted(pairs, key=lambda pair: num_tokens(pair[0]))


def estimated_length(sample: SampleRecord) -> tuple[int, int]:
    """Return a sort key that approximates the row length before the row is made."""
    return sample.end_ms - sample.start_ms, len(sample.transcript)


def num_tokens(row: Row | None) -> int:
    """Return the number of tokens of a row, 0 if it is unreadable."""
    return 0 if row is None else len(row["input_ids"])


def num_padded_tokens(lengths: Sequence[int], size: int) -> int:
    """Return the number of tokens with padding of rows in micro-batches of ``size``."""
    readable = [length for length in lengths if length]
    return sum(max(batch) * len(batch) for batch in micro_batches(readable, size))
