"""Samples on their way to a training step: which ones, in what order, decoded ahead of it."""

import itertools
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any, TypeVar

import numpy as np
import torch

from storage.errors import ItemFault, StageError
from storage.records import SampleRecord
from storage.store import Store
from tasks.omni.ahead import made_ahead
from tasks.omni.inputs import InputConfig, build_input, to_model_row
from tasks.omni.training.features import FeatureFolder, feature_key
from tasks.omni.training.towers import collate_features, row_of_features

T = TypeVar("T")
Row = dict[str, torch.Tensor]
_BATCHES_AHEAD = 2
_MAX_UNREADABLE_SHARE = 0.01


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
        return [self._at(place) for place in range(first, first + self._batch_size)]

    def _at(self, place: int) -> int:
        turn, group_index = divmod(place, len(self._groups))
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
    """Reads samples' media and turns them into the model's rows, in threads ahead of their use.

    With ``features``, what the towers made of a sample is read in the place of its media. Rows are
    kept up to ``keep_bytes`` in all. A sample whose media cannot be read is left out and
    counted.

    Raises:
        StageError: more than 1% of the samples cannot be read.
    """

    def __init__(
        self,
        store: Store,
        processor: Any,
        config: InputConfig,
        *,
        num_samples: int,
        num_threads: int,
        keep_bytes: int,
        features: FeatureFolder | None = None,
    ) -> None:
        self._store = store
        self._features = features
        self._processor = processor
        self._config = config
        self._num_samples = num_samples
        self._free_bytes = keep_bytes
        self._kept: dict[str, Row | None] = {}
        self._unreadable: set[str] = set()
        self._lock = threading.Lock()
        self._num_threads = num_threads

    @property
    def num_unreadable(self) -> int:
        """How many samples have been left out so far."""
        return len(self._unreadable)

    def iter_batches(self, batches: Sequence[Sequence[SampleRecord]]) -> Iterator[list[Row | None]]:
        """Each batch's rows in order, ``None`` for what cannot be read, while the next are read."""
        largest = max((len(batch) for batch in batches), default=0)
        rows = made_ahead(
            (sample for batch in batches for sample in batch),
            self._row,
            num_threads=self._num_threads,
            num_ahead=_BATCHES_AHEAD * largest,
        )
        for batch in batches:
            yield [row for _, row in itertools.islice(rows, len(batch))]

    def _row(self, sample: SampleRecord) -> Row | None:
        if sample.segment_id in self._kept:
            return self._kept[sample.segment_id]
        try:
            row = self._read(sample)
        except (ItemFault, FileNotFoundError) as fault:
            self._note_unreadable(sample, fault)
            return None
        self._keep(sample, row)
        return row

    def _keep(self, sample: SampleRecord, row: Row) -> None:
        size = sum(tensor.nbytes for tensor in row.values())
        with self._lock:
            if sample.segment_id not in self._kept and size <= self._free_bytes:
                self._free_bytes -= size
                self._kept[sample.segment_id] = row

    def _read(self, sample: SampleRecord) -> Row:
        if self._features is None:
            return self._open(sample)
        stored = self._features.read(feature_key(sample, self._config))
        if stored is None:
            raise ItemFault("its features could not be made, or are gone")
        return row_of_features(self._processor, self._config, stored, sample.words)

    def _open(self, sample: SampleRecord) -> Row:
        with ExitStack() as files:
            picture = files.enter_context(self._store.open(sample.picture_path))
            sound = sample.sound_path and files.enter_context(self._store.open(sample.sound_path))
            inputs = build_input(
                self._config, picture=picture, sound=sound or None, words=sample.words
            )
        return to_model_row(self._processor, inputs)

    def _note_unreadable(self, sample: SampleRecord, fault: Exception) -> None:
        self._kept[sample.segment_id] = None
        self._unreadable.add(sample.segment_id)
        if len(self._unreadable) > _MAX_UNREADABLE_SHARE * self._num_samples:
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
