"""Runs whose process was killed become Crashed: when a server starts, and while it is up."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from flows.server.connection import post
from flows.server.history import close_dead_runs
from flows.server.liveness import PROCESS_LABEL, STATE_LABEL
from flows.server.local_server import prefect_server, server_is_alive

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

    from flows.running.begin import begin_run

    @flow(name="part", persist_result=False)
    def part():
        endless_task()

    @flow(name="endless", on_running=[begin_run])
    def endless():
        part()

    endless()
"""


@pytest.fixture(scope="module")
def api_url(new_history: Callable[[pytest.MonkeyPatch], Path]) -> Iterator[str]:
    """A server with short pages, started on the history of a run that was killed."""
    with pytest.MonkeyPatch.context() as patch:
        new_history(patch)
        patch.setenv("PREFECT_API_DEFAULT_LIMIT", "3")
        kill_a_run()
        deadline = time.monotonic() + 60
        while server_is_alive():
            assert time.monotonic() < deadline, "the server outlived the run that started it"
            time.sleep(0.1)
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
    assert states(api_url, "flow_runs") == ["CRASHED", "CRASHED"]
    assert set(states(api_url, "task_runs")) <= {"CRASHED"}


def test_a_run_that_is_killed_while_the_server_is_up_is_crashed_soon_with_what_ran_below_it(
    api_url: str,
) -> None:
    kill_a_run()
    kinds = ("flow_runs", "task_runs")
    deadline = time.monotonic() + 90
    while {*states(api_url, kinds[0]), *states(api_url, kinds[1])} != {"CRASHED"}:
        assert time.monotonic() < deadline, [states(api_url, kind) for kind in kinds]
        time.sleep(0.5)


def test_dead_runs_on_several_pages_are_all_closed(api_url: str) -> None:
    with httpx.Client(base_url=api_url, timeout=60) as client:
        flow = post(client, "/flows/", {"name": "dead"})
        for state in ["RUNNING"] * 7 + ["COMPLETED"]:
            body = {"flow_id": flow["id"], "state": {"type": state}}
            post(client, "/flow_runs/", body)
        assert len(states(api_url, "flow_runs")) == 3, "this test needs pages of three"
        assert close_dead_runs(client, is_new_server=True) == 7
        for kind, expected in (("CRASHED", 7), ("COMPLETED", 1)):
            query = {
                "flows": {"name": {"any_": ["dead"]}},
                "flow_runs": {"state": {"type": {"any_": [kind]}}},
            }
            assert post(client, "/flow_runs/count", query) == expected


@pytest.mark.parametrize("again", ["PENDING", "RUNNING"])
def test_a_retried_run_does_not_depend_on_the_process_of_its_last_attempt(
    api_url: str, again: str
) -> None:
    command = [sys.executable, "-c",
               "from flows.server.liveness import this_process; print(this_process())"]  # fmt: skip
    of_dead_process = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True
    ).stdout.strip()
    with httpx.Client(base_url=api_url, timeout=60) as client:

        def put(state: str) -> str:
            path, body = f"/flow_runs/{run_id}/set_state", {"state": {"type": state}, "force": True}
            return str(post(client, path, body)["state"]["id"])

        def state_now() -> str:
            return str(client.get(f"/flow_runs/{run_id}").json()["state"]["type"])

        flow = post(client, "/flows/", {"name": "retried"})
        run_id = post(client, "/flow_runs/", {"flow_id": flow["id"]})["id"]
        labels = {PROCESS_LABEL: of_dead_process, STATE_LABEL: put("RUNNING")}
        client.patch(f"/flow_runs/{run_id}/labels", json=labels).raise_for_status()
        put("FAILED")
        put(again)
        close_dead_runs(client)
        assert state_now() == again
        labels[STATE_LABEL] = put("RUNNING")
        client.patch(f"/flow_runs/{run_id}/labels", json=labels).raise_for_status()
        close_dead_runs(client)
        assert state_now() == "CRASHED"
