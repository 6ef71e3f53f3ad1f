"""Samples on their way to a training step: which ones, in what order, decoded ahead of it."""

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
    """The endless order of training samples; each step's are known without running those before.

    Every pass over the samples is a fresh permutation. Balanced, negatives and positives take
    turns, each class in passes of its own.
    """

    def __init__(
        self, labels: Sequence[int], *, batch_size: int, seed: int, balanced: bool
    ) -> None:
        every = np.arange(len(labels))
        classes = np.asarray(labels)
        self._groups = [every[classes == label] for label in (0, 1)] if balanced else [every]
        self._batch_size = batch_size
        self._seed = seed
        self._permutations: dict[tuple[int, int], Any] = {}

    def batch(self, step: int) -> list[int]:
        """Indices of the samples of a step; the first step is 1."""
        first = (step - 1) * self._batch_size
        return [self._at(location) for location in range(first, first + self._batch_size)]

    def _at(self, location: int) -> int:
        turn, group_index = divmod(location, len(self._groups))
        group = self._groups[group_index]
        pass_index, index = divmod(turn, len(group))
        return int(group[self._permutation(group_index, pass_index)[index]])

    def _permutation(self, group_index: int, pass_index: int) -> Any:
        key = (group_index, pass_index)
        if key not in self._permutations:
            self._permutations.pop((group_index, pass_index - 2), None)
            generator = np.random.default_rng((self._seed, *key))
            self._permutations[key] = generator.permutation(len(self._groups[group_index]))
        return self._permutations[key]


class RowReader:
    """Gives samples as the model's rows, made by an executor ahead of their use.

    ``make`` runs wherever the executor's work runs. Rows are kept up to ``keep_bytes`` in all. A
    sample of which no row can be made is left out and counted.

    Raises:
        StageError: more than 1% of the samples cannot be read, or a decoding process died.
    """

    def __init__(
        self,
        make: Callable[[SampleRecord], Mapping[str, Any] | ItemFault],
        executor: Executor,
        *,
        num_samples: int,
        keep_bytes: int,
    ) -> None:
        self._make = make
        self._executor = executor
        self._num_samples = num_samples
        self._free_bytes = keep_bytes
        self._kept: dict[str, Row | None] = {}
        self._unreadable: set[str] = set()

    @property
    def unreadable(self) -> frozenset[str]:
        """The segments that have been left out so far."""
        return frozenset(self._unreadable)

    def hear_of_unreadable(self, everybodys: Iterable[Set[str]]) -> None:
        """Count what other processes have left out, too, and hold it to the same bound."""
        self._unreadable = self._unreadable.union(*everybodys)
        self._check_unreadable()

    def iter_batches(self, batches: Sequence[Sequence[SampleRecord]]) -> Iterator[list[Row | None]]:
        """Each batch's rows in order, ``None`` for what cannot be read, while the next are read."""
        largest = max((len(batch) for batch in batches), default=0)
        samples = itertools.chain.from_iterable(batches)
        made = prefetch(samples, self._begin, _BATCHES_AHEAD * largest)
        try:
            for batch in batches:
                yield [self._row(*each) for each in itertools.islice(made, len(batch))]
        except BrokenProcessPool as error:
            raise StageError(
                "A decoding process died, most likely for lack of memory: lower "
                "resources.finetune.num_decoders or cache_mib; with num_decoders = 0 there is none."
            ) from error

    def _begin(self, sample: SampleRecord) -> Future[Any]:
        if sample.segment_id not in self._kept:
            return self._executor.submit(self._make, sample)
        kept: Future[Any] = Future()
        kept.set_result(None)
        return kept

    def _row(self, sample: SampleRecord, made: Mapping[str, Any] | ItemFault | None) -> Row | None:
        if sample.segment_id in self._kept:
            return self._kept[sample.segment_id]
        if made is None or isinstance(made, ItemFault):
            self._note_unreadable(sample, made)
            return None
        row = {name: torch.as_tensor(values) for name, values in made.items()}
        size = sum(tensor.nbytes for tensor in row.values())
        if size <= self._free_bytes:
            self._free_bytes -= size
            self._kept[sample.segment_id] = row
        return row

    def _note_unreadable(self, sample: SampleRecord, fault: ItemFault | None) -> None:
        self._kept[sample.segment_id] = None
        self._unreadable.add(sample.segment_id)
        self._check_unreadable(fault)

    def _check_unreadable(self, fault: ItemFault | None = None) -> None:
        if len(self._unreadable) > _MAX_UNREADABLE_FRACTION * self._num_samples:
            raise StageError(
                f"{len(self._unreadable)} of {self._num_samples} samples have no readable picture "
                "or sound, expected at most 1%: make their segments again with --force segment."
            ) from fault


def collate(
    rows: Sequence[Row | None], answers: Sequence[int], pad_token_id: int
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Lay readable rows into a batch for the thinker, with their answers' token ids [batch]."""
    there = [(row, answer) for row, answer in zip(rows, answers, strict=True) if row is not None]
    batch = collate_features([row for row, _ in there], pad_token_id)
    return batch, torch.tensor([answer for _, answer in there])


def pieces(batch: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Split a batch, in order, into micro-batches of at most ``size``."""
    for start in range(0, len(batch), size):
        yield batch[start : start + size]


def by_length(
    rows: Sequence[Row | None], samples: Sequence[SampleRecord]
) -> list[tuple[Row | None, SampleRecord]]:
    """Pair rows with their samples, those of like length together; unreadable ones come first."""
    pairs = zip(rows, samples, strict=True)
    return sorted(pairs, key=lambda pair: num_tokens(pair[0]))


def likely_length(sample: SampleRecord) -> tuple[int, int]:
    """Give a key by which samples of like length stand together before their rows are made."""
    return sample.end_ms - sample.start_ms, len(sample.transcript)


def num_tokens(row: Row | None) -> int:
    """Count a row's tokens; 0 for one that could not be read."""
    return 0 if row is None else len(row["input_ids"])


def num_positions(lengths: Sequence[int], size: int) -> int:
    """Count what the model computes for rows of these lengths in micro-batches of ``size``."""
    there = [length for length in lengths if length]
    return sum(max(piece) * len(piece) for piece in pieces(there, size))
