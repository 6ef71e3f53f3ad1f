"""Training with several processes, forked or started by the launcher."""

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
from tasks.training.distributed.ranks import partition_samples
from tasks.training.job import read_job, read_result, write_job
from tests.tasks.training.together import train_alone, train_together

QUIET = {"PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


@given(
    kinds=st.lists(st.tuples(st.booleans(), st.integers(1, 5_000))),
    num_partitions=st.integers(1, 9),
)
def test_partitions_hold_every_sample_once_and_balance_audio(kinds, num_partitions, labeled):
    samples = [
        replace(
            labeled[0],
            segment_id=SegmentId(str(index)),
            audio_path="a.wav" if has_audio else None,
            end_ms=end_ms,
        )
        for index, (has_audio, end_ms) in enumerate(kinds)
    ]
    partitions = partition_samples(samples, num_partitions)
    assert len(partitions) == num_partitions
    assigned = [sample.segment_id for part in partitions for sample in part]
    assert sorted(assigned) == sorted(sample.segment_id for sample in samples)
    for with_audio in (True, False):
        counts = [sum(bool(s.audio_path) == with_audio for s in part) for part in partitions]
        assert max(counts) - min(counts) <= 1


def launch(job_path):
    job, _ = read_job(job_path)
    command = launch_command(job_path, job.resources)
    run_child(command, on_line=lambda _line: None, job_path=job_path, environment=QUIET)


def check_partitions(samples, settings):
    """In some step, one process has no audio, and the other has more samples, with audio."""
    train = [sample for sample in samples if sample.in_training]
    order = SampleOrder(
        [s.label for s in train], batch_size=3, seed=settings["seed"], balanced=True
    )
    partitions = [
        partition_samples([train[index] for index in order.batch(step)], 2)
        for step in range(1, settings["steps"] + 1)
    ]
    assert any(
        any(s.audio_path for s in first) and not any(s.audio_path for s in second)
        for first, second in partitions
    )


@pytest.mark.slow
def test_two_processes_train_like_one_on_the_same_batches(make_job, labeled):
    plan = [
        replace(row, weight=(0.5, 2.5)[row.label]) for row in plan_classes(labeled, ClassRule())
    ]
    samples = [
        replace(sample, audio_path=None if index % 2 else sample.audio_path)
        for index, sample in enumerate(labeled)
    ]
    settings = {"steps": 6, "batch_size": 3, "eval_steps": 3, "plan": plan, "seed": 3}
    settings["parts"] = ("attention", "experts", "audio")  # a rank without audio lacks gradients
    check_partitions(samples, settings)
    paths = [
        make_job("one", **settings),
        make_job("two", resources={"num_processes": 2, "micro_batch_size": 1}, **settings),
    ]
    for path in paths:
        write_job(read_job(path)[0], samples, path.parent)
    train_alone(paths[0])
    status, lines = train_together(paths[1])
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
    assert lines.count("parameters") == 1  # the main process reports for both


@pytest.mark.slow
def test_an_error_in_one_of_two_processes_ends_both_with_one_clear_sentence(make_job, labeled):
    path = make_job("gone", resources={"num_processes": 2}, steps=3, batch_size=2)
    train = [sample for sample in labeled if sample.in_training]
    order = SampleOrder([s.label for s in train], batch_size=2, seed=0, balanced=True)
    batch = [train[index] for index in order.batch(1)]
    (alone,) = partition_samples(batch, 2)[1]  # of the second process
    samples = [
        replace(s, video_path="gone.mp4") if s.segment_id == alone.segment_id else s
        for s in labeled
    ]
    write_job(read_job(path)[0], samples, path.parent)
    with pytest.raises(StageError, match="of 18 samples have no readable video") as error:
        launch(path)
    assert len(str(error.value).splitlines()) == 1
    assert not any(row.video_id in str(error.value) for row in samples)
