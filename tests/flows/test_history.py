"""Runs whose process was killed are Crashed after the next start, however many they are."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from flows.history import close_dead_runs, post
from flows.server import prefect_server

pytestmark = pytest.mark.slow

RUN = """
import time
from flows.server import prefect_server

with prefect_server():
    from prefect import flow, task  # reads the server's address when it is imported

    @task
    def endless_task():
        print("begun", flush=True)
        time.sleep(600)

    @flow(name="endless")
    def endless():
        endless_task()

    endless()
"""


@pytest.fixture
def history(
    new_history: Callable[[pytest.MonkeyPatch], Path], monkeypatch: pytest.MonkeyPatch
) -> Path:
    return new_history(monkeypatch)


def states(api_url: str, kind: str) -> list[str]:
    rows = httpx.post(f"{api_url}/{kind}/filter", json={}, timeout=60).raise_for_status().json()
    return [row["state"]["type"] for row in rows]


def test_a_killed_run_is_crashed_after_the_next_start(history: Path) -> None:
    run = subprocess.Popen(
        [sys.executable, "-c", RUN], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )
    try:
        assert run.stdout is not None
        assert run.stdout.readline() == "begun\n"
    finally:
        os.kill(run.pid, signal.SIGKILL)
        run.communicate()
    with prefect_server() as api_url:
        assert states(api_url, "flow_runs") == ["CRASHED"]
        assert set(states(api_url, "task_runs")) <= {"CRASHED"}


def test_more_dead_runs_than_a_page_holds_are_all_closed(
    history: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_DEFAULT_LIMIT", "3")
    with prefect_server() as api_url, httpx.Client(base_url=api_url, timeout=60) as client:
        flow = post(client, "/flows/", {"name": "dead"})
        for state in ["RUNNING"] * 7 + ["COMPLETED"]:
            body = {"flow_id": flow["id"], "state": {"type": state}}
            post(client, "/flow_runs/", body)
        assert len(states(api_url, "flow_runs")) == 3, "the page is as short as this test needs"
        assert close_dead_runs(api_url) == 7
        for kind, expected in (("CRASHED", 7), ("COMPLETED", 1)):
            wanted = {"flow_runs": {"state": {"type": {"any_": [kind]}}}}
            assert post(client, "/flow_runs/count", wanted) == expected
