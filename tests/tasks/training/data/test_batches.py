from types import SimpleNamespace

import torch
from hypothesis import given
from hypothesis import strategies as st

from tasks.labels.class_plan import ClassRule, plan_classes
from tasks.training.data.batches import NO_ANSWER, Training
from tasks.training.distributed.ranks import deal
from tasks.training.settings import FinetuneResources, TrainingSettings

YES, NO, PAD = 2, 3, 0


def training_of(samples, *, num_processes, micro_batch_size, sharding):
    ranks = SimpleNamespace(count=num_processes, device=torch.device("cpu"))
    tokenizer = SimpleNamespace(pad_token_id=PAD)
    return Training(
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
        say=print,
        watch=None,
    )


def answers_by_process(training, samples, unreadable):
    """The answers of each micro-batch of each process."""
    found = []
    for hand in deal(samples, training.ranks.count):
        rows = [
            None if sample.segment_id in unreadable else {"input_ids": torch.tensor([5, 6])}
            for sample in hand
        ]
        found.append([answers.tolist() for _, answers in training.train_batches(rows, hand)])
    return found


shapes = {
    "num_samples": st.integers(2, 12),
    "num_processes": st.integers(2, 5),
    "micro_batch_size": st.integers(1, 4),
    "gone": st.sets(st.integers(0, 11)),
}


@given(**shapes)
def test_all_that_share_a_model_out_compute_as_many_micro_batches(
    labelled, num_samples, num_processes, micro_batch_size, gone
):
    samples = labelled[:num_samples]
    unreadable = {samples[index].segment_id for index in gone if index < num_samples}
    training = training_of(
        samples, num_processes=num_processes, micro_batch_size=micro_batch_size, sharding="fsdp"
    )
    found = answers_by_process(training, samples, unreadable)
    assert len({len(batches) for batches in found}) == 1
    assert len(found[0]) > 0
    answered = [token for batches in found for batch in batches for token in batch]
    readable = [sample for sample in samples if sample.segment_id not in unreadable]
    expected = sorted(YES if sample.label else NO for sample in readable)
    assert sorted(token for token in answered if token != NO_ANSWER) == expected


def test_those_that_hold_all_of_it_compute_no_blanks(labelled):
    samples = labelled[:3]
    training = training_of(samples, num_processes=2, micro_batch_size=1, sharding="none")
    found = answers_by_process(training, samples, {samples[0].segment_id})
    assert sorted(len(batches) for batches in found) in ([0, 2], [1, 1])
    assert all(NO_ANSWER not in batch for batches in found for batch in batches)
