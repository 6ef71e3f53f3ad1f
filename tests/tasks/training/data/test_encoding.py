"""Trainings from features of frozen towers, compared with the same trainings from media."""

import itertools
import os
import re
import shutil
import signal

import pytest

from tasks.training.data import encoding, features
from tasks.training.job import TrainingJob, read_result

pytestmark = pytest.mark.slow


def losses_and_lines(job_path, features_path=None, **training):
    from accelerate.state import AcceleratorState

    from tasks.training.run import run_job

    AcceleratorState._reset_state(reset_partial_state=True)  # usually one process runs one training
    job = TrainingJob.model_validate_json(job_path.read_bytes())
    job = job.model_copy(update={"features_path": features_path})
    job_path.write_text(job.model_dump_json())
    lines: list[str] = []
    run_job(job_path, lines.append)
    _, log = read_result(job_path.parent)
    losses = [(row.loss, row.grad_norm, row.val_loss) for row in log if row.val_loss is not None]
    return losses, [line for line in lines if "towers" in line]


@pytest.fixture(scope="module")
def features_path(tmp_path_factory):
    return tmp_path_factory.mktemp("features")


@pytest.fixture
def from_media(make_job):
    return losses_and_lines(make_job("media"))[0]


def test_training_from_features_has_the_losses_of_training_from_media(
    make_job, from_media, features_path, labeled
):
    found, (line,) = losses_and_lines(make_job("features"), features_path)
    assert found == [pytest.approx(step, rel=1e-4) for step in from_media]
    assert re.search(rf"features of {len(labeled)} segments .* s, \d+% of it waiting", line)
    again, lines = losses_and_lines(make_job("again", prompt="paper"), features_path)
    assert lines == []  # another prompt for the same segments
    assert again != found


def test_features_in_bfloat16_keep_the_loss_up_to_rounding(make_job, tmp_path):
    settings = {"precision": "bfloat16", "steps": 2}
    media, _ = losses_and_lines(make_job("media", **settings))
    features, _ = losses_and_lines(make_job("features", **settings), tmp_path / "f")
    assert [step[2] for step in features] == pytest.approx([step[2] for step in media], rel=0.02)


def test_trained_towers_run_in_every_step(make_job, tmp_path):
    job_path = make_job("towers", method="full", parts=("projector",), steps=2)
    _, lines = losses_and_lines(job_path, tmp_path / "f")
    assert lines == []
    assert not (tmp_path / "f").exists()


def test_a_disk_too_small_for_features_is_reported_and_media_are_used(
    make_job, from_media, tmp_path, monkeypatch
):
    usage, folder = shutil.disk_usage, tmp_path / "f"
    small = usage(tmp_path)._replace(free=10_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: small if path == folder else usage(path))
    found, (line,) = losses_and_lines(make_job("small"), folder)
    assert found == from_media
    assert "GiB are free" in line
    assert list(folder.iterdir()) == []


def test_the_features_of_all_processes_have_to_fit_on_their_common_disk(tmp_path, monkeypatch):
    lines: list[str] = []
    usage = shutil.disk_usage(tmp_path)._replace(free=1 << 30)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)

    def fits(num_processes):
        encoder = encoding.Encoder(
            thinker=None, pad_token_id=0, config=None, folder=tmp_path, features=None, dtype=None,
            device=None, batch_size=1, num_processes=num_processes, report=lines.append,
        )  # fmt: skip
        return encoding._fits(encoder, 1 << 29)

    assert fits(1)
    assert lines == []
    assert not fits(2)
    assert "needs 1.0 GiB, but 1.0 GiB are free" in lines[0]


def test_a_training_killed_while_encoding_resumes_from_the_stored_features(
    make_job, tmp_path, monkeypatch, labeled
):
    """The kill interrupts the writing of the third shard of four rows."""
    monkeypatch.setattr(encoding, "_SHARD_ROWS", 4)
    resources, folder = {"micro_batch_size": 4}, tmp_path / "f"
    undisturbed, _ = losses_and_lines(make_job("undisturbed", resources), tmp_path / "whole f")
    kill_in_third_shard(make_job("killed", resources), folder)
    assert sorted(path.suffix for path in folder.iterdir()) == [""] + [".safetensors"] * 2
    found, (line,) = losses_and_lines(make_job("again", resources), folder)
    assert f"features of {len(labeled) - 8} segments" in line
    assert found == undisturbed
    assert {path.suffix for path in folder.iterdir()} == {".safetensors"}


def kill_in_third_shard(job_path, folder):
    """Run a job in a forked process that kills itself there with SIGKILL."""
    child = os.fork()
    if child == 0:
        save_file, num_started = features.save_file, itertools.count(1)

        def save_or_die(tensors, path):
            save_file(tensors, path)
            if next(num_started) == 3:
                os.truncate(path, path.stat().st_size // 2)
                os.kill(os.getpid(), signal.SIGKILL)

        features.save_file = save_or_die
        try:
            losses_and_lines(job_path, folder)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the process was not killed as planned"
