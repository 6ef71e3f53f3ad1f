"""A run whose server is killed ends within seconds in one sentence, also in Prefect's retries."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

RUN = """
import sys, time
import typer
from pathlib import Path
from rich.console import Console
from flows.cli import main
from flows.server.environment import prepare_environment

def work(console):
    from prefect import flow, task
    from flows.commands.progress import with_prefect
    from tasks.processes.child_process import run_child
    from tasks.processes.group import allow_children

    @task
    def busy():
        run_child(["sleep", "600"], on_line=print)

    @flow(name="inner")
    def inner():
        print("started", flush=True)
        WORK

    @flow(name="outer")
    def outer():
        inner()

    with with_prefect():
        outer()

def run(prog_name):
    prepare_environment(Path("history"))
    from flows.commands.progress import show_progress
    console = Console()
    with show_progress(console):
        work(console)

main.app = run
main.main()
"""
IN_CHILDREN = "from prefect.futures import wait; wait([busy.submit()])"
IN_REQUESTS = (
    "from flows.server.local_server import prefect_server; import httpx\n"
    + """
        from prefect.artifacts import create_markdown_artifact
        while True: create_markdown_artifact("text")
"""
)


@pytest.mark.slow
@pytest.mark.parametrize("work", [IN_REQUESTS], ids=["in requests"])
def test_a_run_whose_server_is_killed_ends_in_one_sentence_within_seconds(
    new_history: Callable[[pytest.MonkeyPatch], Path], monkeypatch: pytest.MonkeyPatch, work: str
) -> None:
    home = new_history(monkeypatch)
    with subprocess.Popen(
        [sys.executable, "-c", RUN.replace("WORK", work)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as run:  # fmt: skip
        assert run.stdout is not None
        while "started" not in (line := run.stdout.readline()):
            assert line, run.stderr.read()
        time.sleep(2)
        started = time.monotonic()
        os.kill(json.loads((home / "server.json").read_text())["process_id"], signal.SIGKILL)
        output, errors = run.communicate(timeout=100)
        seconds = time.monotonic() - started
    assert run.returncode == 1, errors
    (line,) = errors.splitlines()
    assert line.startswith("waver: The Prefect server at 'http://127.0.0.1:")
    assert line.endswith("no longer responds. Finished results are kept: run again to continue.")
    assert "ERROR" not in output
    assert "Traceback" not in output
    assert seconds < 30
