"""Micro-batches of each process.

When the model is sharded, every process computes the same number of micro-batches, since all gather
the same weights at the same time. A process with fewer rows adds blank batches: one token whose
target is ``IGNORE_INDEX``, which changes neither loss, gradients nor metrics.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch

from storage.records import SampleRecord
from tasks.training.context import TrainingContext
from tasks.training.data.samples import collate, estimated_length, micro_batches, sort_by_length

Batch = tuple[dict[str, torch.Tensor], torch.Tensor]

IGNORE_INDEX = -100  # cross_entropy's default


def train_batches(
    context: TrainingContext, rows: Sequence[Any], samples: Sequence[SampleRecord]
) -> Iterator[Batch]:
    """Collate this process's rows of a step into micro-batches."""
    size = context.resources.micro_batch_size
    groups = (
        tuple(zip(*group, strict=True))
        for group in micro_batches(sort_by_length(rows, samples), size)
    )
    expected = _num_micro_batches(context, context.settings.batch_size)
    for _, batch in _collated(context, groups, expected):
        yield batch


def val_batches(context: TrainingContext) -> Iterator[tuple[list[SampleRecord], Batch]]:
    """Collate this process's readable validation samples into micro-batches."""
    samples = sorted(context.ranks.partition(context.val_samples), key=estimated_length)
    groups = list(micro_batches(samples, context.resources.micro_batch_size))
    rows = context.reader.iter_batches(groups)
    expected = _num_micro_batches(context, len(context.val_samples))
    yield from _collated(context, zip(rows, groups, strict=True), expected)


def _num_micro_batches(context: TrainingContext, num_samples: int) -> int:
    """Count the micro-batches of the process with the most samples."""
    per_process = math.ceil(num_samples / context.ranks.count)
    return math.ceil(per_process / context.resources.micro_batch_size)


def _collated(
    context: TrainingContext, groups: Iterable[tuple[Any, ...]], expected: int
) -> Iterator[tuple[list[SampleRecord], Batch]]:
    """Collate groups of rows and samples; yields each batch with its readable samples."""
    num_batches = 0
    for rows, samples in groups:
        readable = [s for s, row in zip(samples, rows, strict=True) if row is not None]
        if readable:
            num_batches += 1
            yield readable, _collate(context, rows, samples)
    for _ in range(expected - num_batches if context.is_sharded else 0):
        yield [], _blank(context)


def _collate(
    context: TrainingContext, rows: Sequence[Any], samples: Sequence[SampleRecord]
) -> Batch:
    targets = [context.answer_tokens[int(sample.label == 1)] for sample in samples]
    return _on_device(context, collate(rows, targets, _pad_token_id(context)))


def _blank(context: TrainingContext) -> Batch:
    ids = torch.full((1, 1), _pad_token_id(context))
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    return _on_device(context, (inputs, torch.tensor([IGNORE_INDEX])))


def _on_device(context: TrainingContext, batch: Batch) -> Batch:
    inputs, targets = batch
    device = context.ranks.device
    return {name: tensor.to(device) for name, tensor in inputs.items()}, targets.to(device)


def _pad_token_id(context: TrainingContext) -> int:
    return int(context.opened.processor.tokenizer.pad_token_id)
