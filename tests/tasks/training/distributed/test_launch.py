import pytest
import torch
import yaml

from tasks.training.distributed.launch import (
    CHILD_MODULE,
    launch_command,
    num_processes,
    num_threads,
)
from tasks.training.settings import FinetuneResources


def test_the_launcher_reads_settings_beside_the_job_and_starts_the_child(tmp_path):
    job_path = tmp_path / "a job.json"
    command = launch_command(job_path, FinetuneResources(device="cpu", num_threads=3))
    assert command[-3:] == ["--module", CHILD_MODULE, str(job_path)]
    assert command[command.index("--num_cpu_threads_per_process") + 1] == "3"
    settings = yaml.safe_load((tmp_path / "accelerate.yaml").read_text())
    assert command[command.index("--config_file") + 1] == str(tmp_path / "accelerate.yaml")
    assert settings["use_cpu"] is True
    assert (settings["distributed_type"], settings["num_processes"]) == ("NO", 1)


def test_several_processes_are_launched_on_cpus_too(tmp_path):
    launch_command(tmp_path / "job.json", FinetuneResources(device="cpu", num_processes=2))
    settings = yaml.safe_load((tmp_path / "accelerate.yaml").read_text())
    assert (settings["distributed_type"], settings["num_processes"]) == ("MULTI_GPU", 2)
    assert settings["use_cpu"] is True
    assert settings["main_process_port"] == 0


def test_one_process_trains_on_the_cpu_by_default():
    assert num_processes(FinetuneResources(device="cpu")) == 1
    assert num_processes(FinetuneResources(device="cpu", num_processes=3)) == 3


def test_threads_are_as_set_or_from_the_environment(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert num_threads(FinetuneResources()) == 5
    assert num_threads(FinetuneResources(num_threads=2)) == 2
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    assert num_threads(FinetuneResources()) >= 1


@pytest.mark.parametrize("available", [False, True])
def test_processes_use_the_cpu_without_an_accelerator(tmp_path, monkeypatch, available):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: available)
    launch_command(tmp_path / "job.json", FinetuneResources(num_processes=2))
    settings = (tmp_path / "accelerate.yaml").read_text()
    assert f"use_cpu: {'false' if available else 'true'}" in settings
