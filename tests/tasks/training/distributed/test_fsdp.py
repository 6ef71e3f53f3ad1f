"""Sharded training in two forks of this process."""

import json
import os
import shutil
import signal
from dataclasses import replace

import pytest
import torch

from storage.errors import ConfigError
from tasks.model.gpu import count_gpus
from tasks.training.distributed.fsdp import check_sharding, clip_gradients
from tasks.training.job import (
    MODEL_FOLDER,
    read_job,
    read_result,
    read_validation_predictions,
    write_job,
)
from tasks.training.settings import FinetuneResources, TrainingSettings
from tests.tasks.training.together import train_alone, train_launched, train_together

SETTINGS = {
    "method": "full", "learning_rate": 5e-4, "steps": 4, "batch_size": 3, "eval_steps": 2,
    "seed": 3,
    # Audio too: some rows lack it.
    "parts": ("attention", "experts", "router", "embedding", "norms", "head", "audio"),
}  # fmt: skip
RESOURCES = {
    "num_processes": 2, "micro_batch_size": 1, "checkpoint_seconds": 0,
    "gradient_checkpointing": True, "sharding": "fsdp",
}  # fmt: skip


def weights_of(job_path):
    from transformers import Qwen3OmniMoeForConditionalGeneration

    folder = job_path.parent / MODEL_FOLDER / "merged"
    top = Qwen3OmniMoeForConditionalGeneration.from_pretrained(folder, dtype="auto")
    return top.state_dict()


def config_of(job_path):
    folder = job_path.parent / MODEL_FOLDER / "merged"
    names = ("config.json", "generation_config.json", "processor_config.json")
    return [json.loads((folder / name).read_text()) for name in names]


def without_times(log):
    return [replace(row, seconds=1.0, wait_seconds=0.0) for row in log]


@pytest.mark.slow
def test_fsdp_in_two_processes_trains_like_one_and_resumes_in_two_or_one_when_killed(
    make_job, labeled
):
    samples = [
        replace(sample, audio_path=None if index % 2 else sample.audio_path)
        for index, sample in enumerate(labeled)
    ]
    unsharded = make_job("unsharded", **SETTINGS)
    sharded, killed, alone = (
        make_job(name, RESOURCES, **SETTINGS) for name in ("sharded", "killed", "alone")
    )
    for path in (unsharded, sharded, killed, alone):
        features = {} if path == unsharded else {"features_path": path.parent / "features"}
        write_job(read_job(path)[0].model_copy(update=features), samples, path.parent)
    train_alone(unsharded)
    assert train_together(sharded)[0] == 0
    check_same(unsharded, sharded)

    status, _ = train_together(killed, at_line="step 2/4")  # before its checkpoint
    assert os.WTERMSIG(status) == signal.SIGKILL
    status, _ = train_together(killed, in_checkpoint="step-000003.tmp")  # not yet renamed
    assert os.WTERMSIG(status) == signal.SIGKILL
    checkpoints_path = read_job(killed)[0].checkpoints_path
    shutil.copytree(checkpoints_path, read_job(alone)[0].checkpoints_path)
    status, lines = train_together(killed)
    assert status == 0
    assert "resuming after step 2 of 4" in lines
    assert without_times(read_result(killed.parent)[1]) == without_times(
        read_result(sharded.parent)[1]
    )

    reported = []
    train_alone(alone, reported.append)
    assert "resuming after step 2 of 4" in reported
    check_same(unsharded, alone)


def check_same(unsharded, sharded):
    (result, log), (expected_result, expected) = (
        read_result(path.parent) for path in (sharded, unsharded)
    )
    assert [row.loss for row in log] == pytest.approx([row.loss for row in expected], abs=1e-4)
    norms = [row.grad_norm for row in expected]
    assert [row.grad_norm for row in log] == pytest.approx(norms, rel=1e-3)
    evaluated = [row.val_loss for row in expected if row.val_loss is not None]
    assert [row.val_loss for row in log if row.val_loss is not None] == pytest.approx(
        evaluated, abs=1e-4
    )
    assert result == expected_result
    predictions, others = (
        {row.segment_id: row.p_ah for row in read_validation_predictions(path.parent)}
        for path in (sharded, unsharded)
    )
    assert predictions == pytest.approx(others, abs=1e-4)
    assert config_of(sharded) == config_of(unsharded)
    weights, expected_weights = weights_of(sharded), weights_of(unsharded)
    assert weights.keys() == expected_weights.keys()
    for name, tensor in weights.items():
        torch.testing.assert_close(tensor, expected_weights[name], rtol=1e-3, atol=1e-4)


def test_gradients_are_clipped_like_torchs():
    def gradients():
        torch.manual_seed(0)
        layer = torch.nn.Linear(4, 3)
        layer(torch.randn(5, 4)).square().sum().backward()
        return list(layer.parameters())

    ours, torchs = gradients(), gradients()
    norm = clip_gradients([*ours, torch.nn.Parameter(torch.ones(2))], 0.5)
    assert norm == float(torch.nn.utils.clip_grad_norm_(torchs, 0.5))
    for parameter, other in zip(ours, torchs, strict=True):
        torch.testing.assert_close(parameter.grad, other.grad)


def test_adapters_cannot_be_sharded():
    with pytest.raises(ConfigError, match=r"sharding = fsdp requires finetune.method = full, but"):
        check_sharding(TrainingSettings(), FinetuneResources(sharding="fsdp"))


@pytest.mark.gpu
def test_fsdp_on_two_gpus_trains_like_one_process_on_the_cpu(make_job):
    if count_gpus() < 2:
        pytest.skip("needs two CUDA devices")
    alone = make_job("alone", **SETTINGS)
    sharded = make_job("sharded", RESOURCES | {"device": "auto"}, **SETTINGS)
    train_alone(alone)
    log = train_launched(sharded)
    expected = read_result(alone.parent)[1]
    assert [row.loss for row in log] == pytest.approx([row.loss for row in expected], rel=1e-2)
    assert weights_of(sharded).keys() == weights_of(alone).keys()
