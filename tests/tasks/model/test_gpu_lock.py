"""Locks of GPUs with pretended names: what is real are the locks, the processes and their ends."""

import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from storage.errors import StageError, StoreError
from tasks.model import gpu, gpu_lock
from tasks.model.gpu_lock import hold_gpus, names_of_gpus, visible_names
from tasks.processes.group import allow_children, stop_children

DEVICES = ["GPU-aa11", "GPU-ab22", "GPU-cc33"]

# A run with a model process that outlives it, as one in the middle of a CUDA call may.
_HOLDS = """
import sys, time
from pathlib import Path
from tasks.model.gpu_lock import hold_gpus
from tasks.processes.child_process import run_child
child = [sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(60)"]
with hold_gpus(sys.argv[2:], "finetune", Path(sys.argv[1])) as descriptors:
    run_child(child, on_line=lambda line: print(line, flush=True), descriptors=descriptors)
"""


@contextmanager
def holder(folder: Path, *names: str):
    """Another process that holds GPUs while its model process runs; yields it and that one's id."""
    command = [sys.executable, "-c", _HOLDS, str(folder), *names]
    root = Path(__file__).parents[3]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as process:
        child = int(process.stdout.readline())
        try:
            yield process, child
        finally:
            process.kill()
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


def holding_in_thread(folder: Path, *names: str) -> tuple[threading.Thread, threading.Event]:
    has_it = threading.Event()

    def hold() -> None:
        with hold_gpus(names, "infer", folder):
            has_it.set()

    thread = threading.Thread(target=hold)
    thread.start()
    return thread, has_it


def test_the_second_waits_until_the_model_process_has_ended_and_learns_who_works(tmp_path, caplog):
    with holder(tmp_path, "GPU-aa11", "GPU-ab22") as (process, child):
        with hold_gpus(["GPU-cc33"], "infer", tmp_path):
            pass  # another GPU is free
        with caplog.at_level(logging.INFO, "waver"):
            thread, has_it = holding_in_thread(tmp_path, "GPU-ab22")
            assert not has_it.wait(1.5)
        (message,) = caplog.messages
        assert re.fullmatch(
            rf"infer: waiting for GPU GPU-ab22, on which process {process.pid} \(finetune\) works "
            r"since \d\d:\d\d",
            message,
        )
        process.kill()  # the model process lives on
        assert not has_it.wait(1.5)
        os.kill(child, signal.SIGKILL)
        assert has_it.wait(20)
        thread.join()


def test_a_lock_is_free_after_its_block_and_after_an_error(tmp_path):
    for _ in range(2):
        with suppress(ZeroDivisionError), hold_gpus(["0", "1"], "infer", tmp_path) as descriptors:
            assert len(descriptors) / 0
    with hold_gpus(["1"], "infer", tmp_path):
        pass
    assert (tmp_path / "waver-gpu-1.lock").stat().st_mode & 0o777 == 0o666


def test_without_a_gpu_nothing_is_locked(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_lock, "has_gpu_driver", lambda: False)
    with hold_gpus(names_of_gpus(), "infer", tmp_path) as descriptors:
        assert descriptors == []
    assert list(tmp_path.iterdir()) == []


def test_opposite_orders_do_not_wait_for_each_other(tmp_path):
    threads = []
    for names in (("a", "b"), ("b", "a"), ("b", "b", "a")) * 4:
        threads.append(holding_in_thread(tmp_path, *names)[0])
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


def test_waiting_ends_when_the_run_is_stopped(tmp_path):
    errors = []

    def wait() -> None:
        with (
            pytest.raises(StageError, match="The run was stopped") as error,
            hold_gpus(["0"], "infer", tmp_path),
        ):
            pass
        errors.append(error)

    try:
        with hold_gpus(["0"], "infer", tmp_path):
            thread = threading.Thread(target=wait)
            thread.start()
            time.sleep(0.2)
            stopped = time.monotonic()
            stop_children()
            thread.join(20)
            assert time.monotonic() - stopped < 5
    finally:
        allow_children()
    assert len(errors) == 1


def test_a_lock_that_is_a_link_is_not_followed(tmp_path):
    (tmp_path / "mine").write_text("keep this")
    (tmp_path / "waver-gpu-0.lock").symlink_to(tmp_path / "mine")
    with (
        pytest.raises(StoreError, match="lock of a GPU cannot be opened"),
        hold_gpus(["0"], "infer", tmp_path),
    ):
        pass
    assert (tmp_path / "mine").read_text() == "keep this"


@pytest.mark.parametrize(
    ("visible", "names"),
    [
        (None, DEVICES),
        ("", []),
        ("1", ["GPU-ab22"]),
        ("2, 0", ["GPU-cc33", "GPU-aa11"]),
        ("0,-1,1", ["GPU-aa11"]),
        ("7", []),
        ("NoDevFiles", []),
        ("GPU-ab22,0", ["GPU-ab22", "GPU-aa11"]),
        ("GPU-c", ["GPU-cc33"]),
        ("GPU-a", []),  # ambiguous
        ("MIG-GPU-aa11/1/0", ["MIG-GPU-aa11_1_0"]),
    ],
)
def test_names_follow_the_devices_that_cuda_shows(visible, names):
    assert visible_names(DEVICES, visible) == names


def test_locks_are_in_a_folder_of_all_users(tmp_path, monkeypatch):
    own, common = tmp_path / "own", tmp_path / "common"
    own.mkdir(mode=0o755)
    common.mkdir()
    common.chmod(0o1777)
    monkeypatch.setattr(gpu_lock, "_FOLDERS", (tmp_path / "missing", own, common))
    with hold_gpus(["0"], "infer"):
        assert [path.name for path in common.iterdir()] == ["waver-gpu-0.lock"]


@pytest.mark.gpu
def test_a_gpu_has_the_name_that_torch_shows():
    import torch

    assert gpu.has_gpu_driver()
    shown = [f"GPU-{torch.cuda.get_device_properties(n).uuid}" for n in range(gpu.count_gpus())]
    assert names_of_gpus() == shown
    assert names_of_gpus(1) == shown[:1]
