import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from storage.errors import CrashError, ModelError, StageError
from tasks.processes.child_process import run_child
from tasks.processes.group import allow_children, stop_children
from tests.tasks.alive import is_alive, number_in, wait_until

PYTHON = sys.executable


def test_a_child_s_lines_arrive_while_it_works(tmp_path):
    received = tmp_path / "received"
    script = f"echo one; until [ -e '{received}' ]; do sleep 0.01; done; echo two >&2"
    lines: list[str] = []

    def on_line(line: str) -> None:
        lines.append(line)
        received.touch()

    run_child(["sh", "-c", script], on_line=on_line)
    assert lines == ["one", "two"]


def test_a_child_gets_its_environment():
    lines: list[str] = []
    script = "import os; print(os.environ['WAVER_TEST'])"
    run_child([PYTHON, "-c", script], on_line=lines.append, environment={"WAVER_TEST": "a b"})
    assert lines == ["a b"]


def test_a_child_s_threads_sleep_while_they_wait_unless_the_environment_overrides_it(monkeypatch):
    lines: list[str] = []
    script = "import os; print(os.environ['OMP_WAIT_POLICY'])"
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    run_child([PYTHON, "-c", script], on_line=lines.append)
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    run_child([PYTHON, "-c", script], on_line=lines.append)
    assert lines == ["PASSIVE", "ACTIVE"]


@pytest.mark.parametrize("status", [1, 2])  # accelerate's launcher exits with 1 for any status
def test_the_error_that_a_child_reported_is_raised_and_lines_after_it_are_not_passed_on(
    tmp_path, status
):
    lines: list[str] = []
    job_path = tmp_path / "job.json"
    script = (
        "import sys; from pathlib import Path; from storage.errors import ModelError\n"
        "from tasks.processes.error_file import ErrorFile\n"
        "print('working'); ErrorFile(Path(sys.argv[1])).write(ModelError('No model.'))\n"
        f"print('failed'); print('====='); sys.exit({status})"
    )
    with pytest.raises(ModelError, match=r"^No model\.$"):
        run_child([PYTHON, "-c", script, str(job_path)], on_line=lines.append, job_path=job_path)
    assert lines == ["working"]


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("print('loading'); raise SystemExit(4)", r"ended with status 4; .*\nloading"),
        ("import os; os.kill(os.getpid(), 9)", "was killed by signal 9"),
    ],
)
def test_a_child_that_dies_is_a_crash_with_its_status_and_last_lines(script, message):
    with pytest.raises(CrashError, match=message):
        run_child([PYTHON, "-c", script], on_line=lambda line: None)


def test_what_a_dead_child_left_running_neither_blocks_the_parent_nor_survives(tmp_path):
    script = f"sleep 300 & echo $! > {tmp_path}/child; kill -9 $$"
    started = time.monotonic()
    with pytest.raises(StageError, match="signal 9"):
        run_child(["sh", "-c", script], on_line=lambda line: None)
    assert time.monotonic() - started < 60
    child = number_in(tmp_path / "child")
    assert wait_until(lambda: not is_alive(child))


def test_an_error_in_on_line_ends_the_child(tmp_path):
    script = f"echo $$ > {tmp_path}/child; echo hello; sleep 300"

    def interrupt(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_child(["sh", "-c", script], on_line=interrupt)
    child = number_in(tmp_path / "child")
    assert wait_until(lambda: not is_alive(child))


def test_waiting_for_a_child_raises_once_the_run_is_stopped(tmp_path):
    script = f"echo $$ > {tmp_path}/child; sleep 300"
    with ThreadPoolExecutor(1) as executor:
        waiting = executor.submit(run_child, ["sh", "-c", script], on_line=lambda line: None)
        assert wait_until(lambda: (tmp_path / "child").is_file())
        stop_children()
        try:
            with pytest.raises(StageError, match=r"^The run was stopped: run again"):
                waiting.result(timeout=60)
            with pytest.raises(StageError, match=r"^The run was stopped"):
                run_child(["true"], on_line=lambda line: None)
        finally:
            allow_children()
    run_child(["true"], on_line=lambda line: None)
    assert wait_until(lambda: not is_alive(number_in(tmp_path / "child")))


_CHILD = """
import os, subprocess, sys, time
from tasks.processes.child_frame import end_with_parent
end_with_parent()
grandchild = subprocess.Popen(["sleep", "300"])
open(sys.argv[1], "w").write(f"{os.getpid()}\\n")
open(sys.argv[2], "w").write(f"{grandchild.pid}\\n")
time.sleep(300)
"""
_PARENT = """
import sys
from tasks.processes.child_process import run_child
run_child([sys.executable, "-c", *sys.argv[1:]], on_line=print)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_and_all_its_descendants_end_with_their_parent(tmp_path, how):
    pid_paths = [tmp_path / "child", tmp_path / "grandchild"]
    command = [PYTHON, "-c", _PARENT, _CHILD, *map(str, pid_paths)]
    with subprocess.Popen(command) as parent:
        process_ids = [number_in(path) for path in pid_paths]
        assert all(is_alive(process_id) for process_id in process_ids)
        os.kill(parent.pid, how)
    assert wait_until(lambda: not any(is_alive(process_id) for process_id in process_ids))


def test_children_leave_no_thread_behind():
    before = threading.active_count()
    for _ in range(5):
        run_child(["true"], on_line=lambda line: None)
    assert wait_until(lambda: threading.active_count() <= before)
