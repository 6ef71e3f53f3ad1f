"""All that a training works with, and the micro-batches that each process computes of it.

Where the model is shared out among processes, each computes as many micro-batches as any other: all
gather the same weights at the same time. One that has fewer rows computes a blank, a single token
without an answer, which adds nothing to loss, gradients or figures.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from storage.records import SampleRecord
from tasks.labels.class_plan import Plan, weights_of
from tasks.training.checkpoints.checkpoints import Checkpoints
from tasks.training.data.samples import RowReader, by_length, collate, likely_length, pieces
from tasks.training.distributed.fsdp import is_sharded
from tasks.training.distributed.ranks import Ranks
from tasks.training.model.trainable import OpenModel
from tasks.training.schedule import num_steps_of
from tasks.training.settings import FinetuneResources, TrainingSettings
from tasks.training.tracking.trackers import StepListener

Batch = tuple[dict[str, torch.Tensor], torch.Tensor]

NO_ANSWER = -100  # which cross_entropy leaves out


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What a training works with, on each of its processes.

    ``say`` gets lines of progress, ``watch`` every step.
    """

    settings: TrainingSettings
    plan: Plan
    resources: FinetuneResources
    opened: OpenModel
    reader: RowReader
    train_samples: Sequence[SampleRecord]
    val_samples: Sequence[SampleRecord]
    checkpoints: Checkpoints
    ranks: Ranks
    say: Callable[[str], None]
    watch: StepListener

    @property
    def num_steps(self) -> int:
        """How many steps the settings ask for."""
        return num_steps_of(self.settings, len(self.train_samples))

    @property
    def is_sharded(self) -> bool:
        """Whether each process holds a part of the model."""
        return is_sharded(self.resources, self.ranks)

    @property
    def token_weights(self) -> dict[int, float]:
        """The factor of a sample's loss, by the token that answers it."""
        tokens = (self.opened.token_no, self.opened.token_yes)
        return dict(zip(tokens, weights_of(self.plan), strict=True))

    def weight_of(self, sample: SampleRecord) -> float:
        """Give the factor of a sample's loss."""
        return weights_of(self.plan)[int(sample.label == 1)]

    def train_batches(
        self, rows: Sequence[Any], samples: Sequence[SampleRecord]
    ) -> Iterator[Batch]:
        """Lay this process's rows of a step into micro-batches."""
        size = self.resources.micro_batch_size
        groups = (
            tuple(zip(*piece, strict=True)) for piece in pieces(by_length(rows, samples), size)
        )
        for _, batch in self._lay(groups, self._num_groups(self.settings.batch_size)):
            yield batch

    def val_batches(self) -> Iterator[tuple[list[SampleRecord], Batch]]:
        """Lay this process's validation samples, those that can be read, into micro-batches."""
        samples = sorted(self.ranks.share(self.val_samples), key=likely_length)
        groups = list(pieces(samples, self.resources.micro_batch_size))
        rows = self.reader.iter_batches(groups)
        yield from self._lay(
            zip(rows, groups, strict=True), self._num_groups(len(self.val_samples))
        )

    def _num_groups(self, num_samples: int) -> int:
        """Count the micro-batches of the process that gets the most of so many samples."""
        return math.ceil(
            math.ceil(num_samples / self.ranks.count) / self.resources.micro_batch_size
        )

    def _lay(
        self, groups: Iterable[tuple[Any, ...]], expected: int
    ) -> Iterator[tuple[list[SampleRecord], Batch]]:
        """Lay groups of rows and samples into batches, with the samples that could be read."""
        num_laid = 0
        for rows, samples in groups:
            read = [s for s, row in zip(samples, rows, strict=True) if row is not None]
            if read:
                num_laid += 1
                yield read, self._collate(rows, samples)
        for _ in range(expected - num_laid if self.is_sharded else 0):
            yield [], self._blank()

    def _collate(self, rows: Sequence[Any], samples: Sequence[SampleRecord]) -> Batch:
        tokens = (self.opened.token_no, self.opened.token_yes)
        answers = [tokens[int(sample.label == 1)] for sample in samples]
        return self._on_device(collate(rows, answers, self._pad_token_id))

    def _blank(self) -> Batch:
        ids = torch.full((1, 1), self._pad_token_id)
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        return self._on_device((inputs, torch.tensor([NO_ANSWER])))

    def _on_device(self, batch: Batch) -> Batch:
        inputs, answers = batch
        device = self.ranks.device
        return {name: tensor.to(device) for name, tensor in inputs.items()}, answers.to(device)

    @property
    def _pad_token_id(self) -> int:
        return int(self.opened.processor.tokenizer.pad_token_id)
