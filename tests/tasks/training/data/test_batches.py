from types import SimpleNamespace

import torch
from hypothesis import given
from hypothesis import strategies as st

from tasks.labels.class_plan import ClassRule, plan_classes
from tasks.training.context import TrainingContext
from tasks.training.data.batches import IGNORE_INDEX, train_batches
from tasks.training.distributed.ranks import partition_samples
from tasks.training.settings import FinetuneResources, TrainingSettings

YES, NO, PAD = 2, 3, 0


def context_of(samples, *, num_processes, micro_batch_size, sharding):
    ranks = SimpleNamespace(count=num_processes, device=torch.device("cpu"))
    tokenizer = SimpleNamespace(pad_token_id=PAD)
    return TrainingContext(
        settings=TrainingSettings(batch_size=len(samples)),
        plan=plan_classes(samples, ClassRule()),
        resources=FinetuneResources(micro_batch_size=micro_batch_size, sharding=sharding),
        opened=SimpleNamespace(
            processor=SimpleNamespace(tokenizer=tokenizer), token_yes=YES, token_no=NO
        ),
        reader=None,
        train_samples=samples,
        val_samples=[],
        checkpoints=None,
        ranks=ranks,
        report=print,
        callback=None,
    )


def targets_by_process(context, samples, unreadable):
    """The targets of each micro-batch of each process."""
    results = []
    for partition in partition_samples(samples, context.ranks.count):
        rows = [
            None if sample.segment_id in unreadable else {"input_ids": torch.tensor([5, 6])}
            for sample in partition
        ]
        batches = train_batches(context, rows, partition)
        results.append([targets.tolist() for _, targets in batches])
    return results


SIZES = {
    "num_samples": st.integers(2, 12),
    "num_processes": st.integers(2, 5),
    "micro_batch_size": st.integers(1, 4),
    "unreadable_indices": st.sets(st.integers(0, 11)),
}


@given(**SIZES)
def test_processes_of_a_sharded_model_compute_equal_numbers_of_micro_batches(
    labeled, num_samples, num_processes, micro_batch_size, unreadable_indices
):
    samples = labeled[:num_samples]
    unreadable = {samples[index].segment_id for index in unreadable_indices if index < num_samples}
    context = context_of(
        samples, num_processes=num_processes, micro_batch_size=micro_batch_size, sharding="fsdp"
    )
    targets = targets_by_process(context, samples, unreadable)
    assert len({len(batches) for batches in targets}) == 1
    assert len(targets[0]) > 0
    tokens = [token for batches in targets for batch in batches for token in batch]
    readable = [sample for sample in samples if sample.segment_id not in unreadable]
    expected = sorted(YES if sample.label else NO for sample in readable)
    assert sorted(token for token in tokens if token != IGNORE_INDEX) == expected


def test_processes_with_a_replicated_model_compute_no_blank_batches(labeled):
    samples = labeled[:3]
    context = context_of(samples, num_processes=2, micro_batch_size=1, sharding="none")
    targets = targets_by_process(context, samples, {samples[0].segment_id})
    assert sorted(len(batches) for batches in targets) in ([0, 2], [1, 1])
    assert all(IGNORE_INDEX not in batch for batches in targets for batch in batches)
