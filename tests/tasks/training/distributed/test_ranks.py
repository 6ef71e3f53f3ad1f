"""Several processes that train together, forked, or started as the stage starts them."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import StageError
from storage.records import SegmentId
from tasks.labels.class_plan import ClassRule, plan_classes
from tasks.processes.child_process import run_child
from tasks.training.data.samples import SampleOrder
from tasks.training.distributed.launch import launch_command
from tasks.training.distributed.ranks import deal
from tasks.training.job import read_job, read_result, write_job
from tests.tasks.training.together import train_alone, train_together

QUIET = {"PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


@given(kinds=st.lists(st.tuples(st.booleans(), st.integers(1, 5_000))), num_hands=st.integers(1, 9))
def test_dealt_hands_hold_every_sample_once_and_as_many_of_each_kind(kinds, num_hands, labelled):
    samples = [
        replace(
            labelled[0],
            segment_id=SegmentId(str(index)),
            audio_path="a.wav" if has_audio else None,
            end_ms=end_ms,
        )
        for index, (has_audio, end_ms) in enumerate(kinds)
    ]
    hands = deal(samples, num_hands)
    assert len(hands) == num_hands
    dealt = [sample.segment_id for hand in hands for sample in hand]
    assert sorted(dealt) == sorted(sample.segment_id for sample in samples)
    for with_audio in (True, False):
        counts = [sum(bool(s.audio_path) == with_audio for s in hand) for hand in hands]
        assert max(counts) - min(counts) <= 1


def launch(job_path):
    job, _ = read_job(job_path)
    command = launch_command(job_path, job.resources)
    run_child(command, on_line=lambda _line: None, job_path=job_path, environment=QUIET)


def check_hands(samples, settings):
    """Some step gives one process no sound at all, and the other more samples, with sound."""
    train = [sample for sample in samples if sample.in_training]
    order = SampleOrder(
        [s.label for s in train], batch_size=3, seed=settings["seed"], balanced=True
    )
    hands = [
        deal([train[index] for index in order.batch(step)], 2)
        for step in range(1, settings["steps"] + 1)
    ]
    assert any(
        any(s.audio_path for s in first) and not any(s.audio_path for s in second)
        for first, second in hands
    )


@pytest.mark.slow
def test_two_processes_learn_what_one_does_from_the_same_batches(make_job, labelled):
    plan = [
        replace(row, weight=(0.5, 2.5)[row.label]) for row in plan_classes(labelled, ClassRule())
    ]
    samples = [
        replace(sample, audio_path=None if index % 2 else sample.audio_path)
        for index, sample in enumerate(labelled)
    ]
    settings = {"steps": 6, "batch_size": 3, "eval_steps": 3, "plan": plan, "seed": 3}
    settings["parts"] = ("attention", "experts", "audio")  # a rank without sound lacks gradients
    check_hands(samples, settings)
    paths = [
        make_job("one", **settings),
        make_job("two", resources={"num_processes": 2, "micro_batch_size": 1}, **settings),
    ]
    for path in paths:
        write_job(read_job(path)[0], samples, path.parent)
    train_alone(paths[0])
    status, message = train_together(paths[1])
    assert status == 0
    (alone, expected), (result, log) = (read_result(path.parent) for path in paths)

    assert [row.loss for row in log] == pytest.approx([row.loss for row in expected], abs=1e-4)
    norms = [row.grad_norm for row in expected]
    assert [row.grad_norm for row in log] == pytest.approx(norms, rel=1e-3)
    assert [row.num_samples for row in log] == [3] * 6
    for found, other in ((log[step], expected[step]) for step in (2, 5)):
        assert found.val_loss == pytest.approx(other.val_loss, abs=1e-4)
        assert found.val_macro_f1 == other.val_macro_f1
        assert found.val_average_precision == pytest.approx(other.val_average_precision)
    assert result == alone
    assert message.count("parameters") == 1  # one process tells for both


@pytest.mark.slow
def test_a_fault_in_one_of_two_processes_ends_both_with_one_clear_sentence(make_job, labelled):
    path = make_job("gone", resources={"num_processes": 2}, steps=3, batch_size=2)
    train = [sample for sample in labelled if sample.in_training]
    order = SampleOrder([s.label for s in train], batch_size=2, seed=0, balanced=True)
    (alone,) = deal([train[index] for index in order.batch(1)], 2)[1]  # the second process's
    samples = [
        replace(s, video_path="gone.mp4") if s.segment_id == alone.segment_id else s
        for s in labelled
    ]
    write_job(read_job(path)[0], samples, path.parent)
    with pytest.raises(StageError, match="of 18 samples have no readable picture") as message:
        launch(path)
    assert len(str(message.value).splitlines()) == 1
    assert not any(row.video_id in str(message.value) for row in samples)
