"""A run whose server is killed ends within seconds in one sentence, also in Prefect's retries."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.flows.server.flow_command import IN_CHILDREN, IN_REQUESTS


@pytest.mark.slow
def test_runs_whose_server_is_killed_end_in_one_sentence_within_seconds(
    new_history: Callable[[pytest.MonkeyPatch], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = new_history(monkeypatch)
    with ExitStack() as stack:
        runs = list[subprocess.Popen[str]]()
        for command in (IN_CHILDREN, IN_REQUESTS):  # the second one keeps the server busy
            run = subprocess.Popen(
                [sys.executable, "-c", command],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
            runs.append(stack.enter_context(run))
            assert run.stdout is not None
            assert run.stderr is not None
            while "started" not in (line := run.stdout.readline()):
                assert line, run.stderr.read()
        time.sleep(1)
        started = time.monotonic()
        os.kill(json.loads((home / "server.json").read_text())["process_id"], signal.SIGKILL)
        for run in runs:
            output, errors = run.communicate(timeout=100)
            assert time.monotonic() - started < 30
            assert run.returncode == 1, errors
            (line,) = errors.splitlines()
            assert line.startswith("waver: The Prefect server at 'http://127.0.0.1:")
            assert line.endswith(
                "no longer responds. Finished results are kept: run again to continue."
            )
            assert "ERROR" not in output
            assert "Traceback" not in output
