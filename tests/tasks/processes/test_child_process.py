import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from storage.errors import ModelError, StageError, StoreError
from tasks.processes.child_process import is_lack_of_memory, run_worker
from tasks.processes.group import allow_children, stop_children
from tests.tasks.alive import is_alive, number_in, wait_until

PYTHON = sys.executable


def test_a_workers_lines_arrive_while_it_works(tmp_path):
    heard = tmp_path / "heard"
    script = f"echo one; until [ -e '{heard}' ]; do sleep 0.01; done; echo two >&2"
    lines: list[str] = []

    def on_line(line: str) -> None:
        lines.append(line)
        heard.touch()

    run_worker(["sh", "-c", script], on_line=on_line)
    assert lines == ["one", "two"]


def test_a_worker_is_given_its_environment():
    lines: list[str] = []
    script = "import os; print(os.environ['WAVER_TEST'])"
    run_worker([PYTHON, "-c", script], on_line=lines.append, environment={"WAVER_TEST": "a b"})
    assert lines == ["a b"]


def test_a_workers_threads_sleep_while_they_wait_unless_the_user_says_otherwise(monkeypatch):
    lines: list[str] = []
    script = "import os; print(os.environ['OMP_WAIT_POLICY'])"
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    run_worker([PYTHON, "-c", script], on_line=lines.append)
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    run_worker([PYTHON, "-c", script], on_line=lines.append)
    assert lines == ["PASSIVE", "ACTIVE"]


def test_a_workers_own_sentence_is_the_error():
    script = "print('error: the folder is not a model.'); print('bye'); raise SystemExit(1)"
    with pytest.raises(StageError, match=r"^the folder is not a model\.$"):
        run_worker([PYTHON, "-c", script], on_line=lambda line: None)


@pytest.mark.parametrize("error_class", [ModelError, StoreError, StageError])
@pytest.mark.parametrize("status", [1, 2])  # accelerate's launcher makes 1 of every status
def test_a_workers_error_is_raised_as_what_it_was(error_class, status):
    script = (
        "from storage import errors; from tasks.processes.child_process import error_line\n"
        f"print(error_line(errors.{error_class.__name__}('No room:\\n free some.')))\n"
        f"raise SystemExit({status})"
    )
    with pytest.raises(error_class, match=r"^No room: free some\.$") as caught:
        run_worker([PYTHON, "-c", script], on_line=lambda line: None)
    assert type(caught.value) is error_class


@pytest.mark.parametrize("message", ["Path: it is gone.", "The model: damaged.", "WaverErro: x"])
def test_a_sentence_that_names_no_error_is_a_failed_stage(message):
    with pytest.raises(StageError, match=f"^{message}$"):
        run_worker(["sh", "-c", f"echo 'error: {message}'; exit 2"], on_line=lambda line: None)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("print('loading'); raise SystemExit(4)", r"ended with status 4; .*\nloading"),
        ("import os; os.kill(os.getpid(), 9)", "was killed by signal 9"),
    ],
)
def test_a_worker_that_dies_is_told_with_how_and_what_it_last_said(script, message):
    with pytest.raises(StageError, match=message):
        run_worker([PYTHON, "-c", script], on_line=lambda line: None)


def test_what_a_dead_worker_left_running_neither_hangs_the_parent_nor_lives_on(tmp_path):
    script = f"sleep 300 & echo $! > {tmp_path}/child; kill -9 $$"
    started = time.monotonic()
    with pytest.raises(StageError, match="signal 9"):
        run_worker(["sh", "-c", script], on_line=lambda line: None)
    assert time.monotonic() - started < 60
    child = number_in(tmp_path / "child")
    assert wait_until(lambda: not is_alive(child))


def test_a_fault_while_reading_its_lines_ends_the_worker(tmp_path):
    script = f"echo $$ > {tmp_path}/worker; echo hello; sleep 300"

    def refuse(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_worker(["sh", "-c", script], on_line=refuse)
    worker = number_in(tmp_path / "worker")
    assert wait_until(lambda: not is_alive(worker))


def test_who_waits_for_a_worker_is_told_that_the_run_was_stopped(tmp_path):
    script = f"echo $$ > {tmp_path}/worker; sleep 300"
    with ThreadPoolExecutor(1) as executor:
        waiting = executor.submit(run_worker, ["sh", "-c", script], on_line=lambda line: None)
        assert wait_until(lambda: (tmp_path / "worker").is_file())
        stop_children()
        try:
            with pytest.raises(StageError, match=r"^The run was stopped: run again"):
                waiting.result(timeout=60)
            with pytest.raises(StageError, match=r"^The run was stopped"):
                run_worker(["true"], on_line=lambda line: None)
        finally:
            allow_children()
    run_worker(["true"], on_line=lambda line: None)
    assert wait_until(lambda: not is_alive(number_in(tmp_path / "worker")))


_WORKER = """
import os, subprocess, sys, time
from tasks.processes.child_process import end_with_parent
end_with_parent()
grandchild = subprocess.Popen(["sleep", "300"])
open(sys.argv[1], "w").write(f"{os.getpid()}\\n")
open(sys.argv[2], "w").write(f"{grandchild.pid}\\n")
time.sleep(300)
"""
_PARENT = """
import sys
from tasks.processes.child_process import run_worker
run_worker([sys.executable, "-c", *sys.argv[1:]], on_line=print)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_and_all_it_started_end_with_their_parent(tmp_path, how):
    notes = [tmp_path / "worker", tmp_path / "grandchild"]
    command = [PYTHON, "-c", _PARENT, _WORKER, *map(str, notes)]
    with subprocess.Popen(command) as parent:
        process_ids = [number_in(note) for note in notes]
        assert all(is_alive(process_id) for process_id in process_ids)
        os.kill(parent.pid, how)
    assert wait_until(lambda: not any(is_alive(process_id) for process_id in process_ids))


def test_workers_leave_no_thread_behind():
    before = threading.active_count()
    for _ in range(5):
        run_worker(["true"], on_line=lambda line: None)
    assert wait_until(lambda: threading.active_count() <= before)


def test_lack_of_memory_is_known_by_its_words():
    message = ("CUDA out of memory. Tried to allocate 2.00 GiB.", "you tried to allocate memory")
    assert all(
        is_lack_of_memory(RuntimeError(words)) for words in (*message, "can't allocate memory")
    )
    assert is_lack_of_memory(MemoryError())
    assert not is_lack_of_memory(RuntimeError("size mismatch"))
