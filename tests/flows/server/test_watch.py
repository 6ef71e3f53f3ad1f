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

from tests.flows.server.flow_command import IN_CHILDREN, IN_REQUESTS


@pytest.mark.operations
@pytest.mark.parametrize("command", [IN_CHILDREN, IN_REQUESTS], ids=["in children", "in requests"])
def test_a_run_whose_server_is_killed_ends_in_one_sentence_within_seconds(
    new_history: Callable[[pytest.MonkeyPatch], Path], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    home = new_history(monkeypatch)
    with subprocess.Popen(
        [sys.executable, "-c", command],
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
