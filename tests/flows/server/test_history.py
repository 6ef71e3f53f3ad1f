"""Runs whose process was killed become Crashed when the next server starts."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from flows.server.history import close_dead_runs, post
from flows.server.local_server import prefect_server

pytestmark = pytest.mark.slow

RUN = """
import time
from flows.server.local_server import prefect_server

with prefect_server():
    from prefect import flow, task  # reads the server's URL when it is imported

    @task
    def endless_task():
        print("started", flush=True)
        time.sleep(600)

    @flow(name="endless")
    def endless():
        endless_task()

    endless()
"""


@pytest.fixture(scope="module")
def api_url(new_history: Callable[[pytest.MonkeyPatch], Path]) -> Iterator[str]:
    """A server with short pages, started on the history of a run that was killed."""
    with pytest.MonkeyPatch.context() as patch:
        new_history(patch)
        patch.setenv("PREFECT_API_DEFAULT_LIMIT", "3")
        kill_a_run()
        with prefect_server() as started:
            yield started


def kill_a_run() -> None:
    run = subprocess.Popen(
        [sys.executable, "-c", RUN], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )
    try:
        assert run.stdout is not None
        assert run.stdout.readline() == "started\n"
    finally:
        os.kill(run.pid, signal.SIGKILL)
        run.communicate()


def states(api_url: str, kind: str) -> list[str]:
    rows = httpx.post(f"{api_url}/{kind}/filter", json={}, timeout=60).raise_for_status().json()
    return [row["state"]["type"] for row in rows]


def test_a_killed_run_is_crashed_after_the_next_start(api_url: str) -> None:
    assert states(api_url, "flow_runs") == ["CRASHED"]
    assert set(states(api_url, "task_runs")) <= {"CRASHED"}


def test_dead_runs_on_several_pages_are_all_closed(api_url: str) -> None:
    with httpx.Client(base_url=api_url, timeout=60) as client:
        flow = post(client, "/flows/", {"name": "dead"})
        for state in ["RUNNING"] * 7 + ["COMPLETED"]:
            body = {"flow_id": flow["id"], "state": {"type": state}}
            post(client, "/flow_runs/", body)
        assert len(states(api_url, "flow_runs")) == 3, "this test needs pages of three"
        assert close_dead_runs(api_url) == 7
        for kind, expected in (("CRASHED", 7), ("COMPLETED", 1)):
            query = {
                "flows": {"name": {"any_": ["dead"]}},
                "flow_runs": {"state": {"type": {"any_": [kind]}}},
            }
            assert post(client, "/flow_runs/count", query) == expected
