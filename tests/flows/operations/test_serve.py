"""`waver serve` as a user starts it: the server, the pools and their workers, and what dies there.

The pools are `flows.server.pools`, a worker's process is `flows.server.worker`, requests go through
`flows.server.connection`. Everything is real: processes, kills, Chromium.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from flows.server.automation import AUTOMATION, WITHOUT_HEARTBEAT_SECONDS, ensure_crash_automation
from flows.server.connection import api_client, check_access, post
from storage.errors import ConfigError
from tests.browser import read_page
from tests.flows.operations.served import Served, wait_for

pytestmark = [pytest.mark.operations, pytest.mark.timeout(900)]

USE = """
from prefect import flow
@flow(name="through TLS")
def nothing(): pass
nothing()
"""


@pytest.fixture(scope="module")
def served(new_history: Callable[[pytest.MonkeyPatch], Path]) -> Iterator[Served]:
    with pytest.MonkeyPatch.context() as patch:
        served = Served(new_history(patch))
        yield served
        served.close()


@pytest.fixture(scope="module")
def deployment(served: Served) -> str:
    return served.deploy()


def test_serve_runs_a_worker_for_each_pool_and_creates_the_automation(served: Served) -> None:
    wait_for(
        lambda: {(pool["name"], pool["type"], pool["status"]) for pool in served.rows("work_pools")}
        == {("waver-cpu", "process", "READY"), ("waver-gpu", "process", "READY")},
        "the workers are not online",
    )  # fmt: skip
    (automation,) = served.rows("automations")
    assert automation["name"] == AUTOMATION
    assert automation["trigger"]["within"] == WITHOUT_HEARTBEAT_SECONDS
    assert len(served.family()) == 3


def test_a_run_survives_the_end_of_the_server_and_keeps_the_limit_of_its_deployment(
    served: Served, deployment: str, tmp_path: Path
) -> None:
    run = served.run(deployment, tmp_path / "go")
    served.wait_until_running(run)
    (server,) = served.processes("flows.server.process")
    served.kill("flows.server.process")
    wait_for(lambda: served.processes("flows.server.process") not in ([], [server]), "no restart")
    wait_for(lambda: is_up(served), "the server did not start again")
    for _ in range(2):
        renewed = last_renewal(served)
        wait_for(lambda: last_renewal(served) > renewed, "its lease was not renewed")  # noqa: B023
    assert served.state(run) == "RUNNING"
    second = served.run(deployment, tmp_path / "go")
    wait_for(lambda: served.state(second) == "CANCELLED", "the limit was lost")
    (tmp_path / "go").touch()
    wait_for(lambda: served.state(run) == "COMPLETED", "the run did not survive the restart")


def last_renewal(served: Served) -> int:
    """When a lease was last written, in nanoseconds; those of ended runs are gone."""
    leases = served.home.glob("concurrency_leases/*-*.json")
    return max((path.stat().st_mtime_ns for path in leases), default=0)


def is_up(served: Served) -> bool:
    try:
        check_access(served.api_url)
    except ConfigError:
        return False
    return True


def test_a_run_whose_process_is_killed_alone_is_crashed_with_all_that_ran_below_it(
    served: Served, deployment: str, tmp_path: Path
) -> None:
    run = served.run(deployment, tmp_path / "never")
    served.wait_until_running(run)
    served.kill("prefect.engine", "prefect.flow_engine")
    wait_for(lambda: served.state(run) == "CRASHED", "the run")
    wait_for(lambda: "RUNNING" not in served.states(), "what ran below it")


def test_after_a_power_cut_the_dead_run_is_crashed_and_the_next_one_completes(
    served: Served, deployment: str, tmp_path: Path
) -> None:
    run = served.run(deployment, tmp_path / "never")
    served.wait_until_running(run)
    served.process.kill()
    served.kill("flows.server.", "prefect.")
    served.process.wait()
    assert served.family() == []
    served.start()
    wait_for(lambda: served.state(run) == "CRASHED", "the dead run")
    (tmp_path / "go").touch()
    following = served.run(deployment, tmp_path / "go")
    wait_for(lambda: served.state(following) == "COMPLETED", "the next run")
    wait_for(lambda: "RUNNING" not in served.states(), "what ran below the dead run")


def test_a_run_on_another_computer_becomes_crashed_when_its_heartbeats_end(served: Served) -> None:
    with httpx.Client(base_url=served.api_url, timeout=60) as client:
        for automation in served.rows("automations"):
            client.delete(f"/automations/{automation['id']}").raise_for_status()
        assert ensure_crash_automation(client, seconds=10)
        assert not ensure_crash_automation(client)
        flow = post(client, "/flows/", {"name": "elsewhere"})
        state = {"type": "RUNNING"}
        run = post(client, "/flow_runs/", {"flow_id": flow["id"], "state": state})["id"]
        heartbeat = {
            "id": str(uuid4()), "event": "prefect.flow-run.heartbeat",
            "occurred": datetime.now(UTC).isoformat(),
            "resource": {"prefect.resource.id": f"prefect.flow-run.{run}"},
        }  # fmt: skip
        client.post("/events", json=[heartbeat]).raise_for_status()
    wait_for(lambda: served.state(run) == "CRASHED", "the automation did not fire")


def test_a_run_is_shown_by_the_page_on_any_port(served: Served) -> None:
    name = served.rows("flow_runs", sort="START_TIME_DESC")[0]["name"]
    text = read_page(f"{served.url}/runs", name)
    assert "went wrong" not in text


@pytest.fixture(scope="module")
def stopped_run(
    served: Served, deployment: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, int]:
    """A run that was running when `waver serve` was stopped, and the exit status of that."""
    run = served.run(deployment, tmp_path_factory.mktemp("never") / "comes")
    served.wait_until_running(run)
    return run, served.end()


def test_serve_ends_its_workers_and_their_runs_when_it_is_stopped(
    served: Served, stopped_run: tuple[str, int]
) -> None:
    assert stopped_run[1] == 0
    assert "Stopped; the history is kept." in served.log()
    wait_for(lambda: served.family() == [], "processes remained", 20)


@pytest.mark.skipif(
    shutil.which("openssl") is None,
    reason="OpenSSL is not installed: run `infra/test_programs.sh` as root",
)
def test_a_server_with_a_password_and_a_certificate_admits_those_who_have_both(
    served: Served, stopped_run: tuple[str, int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
            "-subj", "/CN=waver", "-addext", "subjectAltName=IP:127.0.0.1",
            "-keyout", str(key), "-out", str(certificate),
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    files = ("--ssl-certificate", str(certificate), "--ssl-key", str(key))
    again = Served(
        served.home, "--no-workers", *files, scheme="https",
        PREFECT_SERVER_API_AUTH_STRING="waver:secret",
    )  # fmt: skip
    try:
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
        with pytest.raises(ConfigError, match="set PREFECT_API_SSL_CERT_FILE"):
            check_access(again.api_url)
        monkeypatch.setenv("PREFECT_API_SSL_CERT_FILE", str(certificate))
        with pytest.raises(ConfigError, match="set PREFECT_API_AUTH_STRING"):
            check_access(again.api_url)
        monkeypatch.setenv("PREFECT_API_AUTH_STRING", "waver:secret")
        check_access(again.api_url)
        environment = {**os.environ, "PREFECT_API_URL": again.api_url}
        subprocess.run([sys.executable, "-c", USE], env=environment, check=True, timeout=200)
        with api_client(again.api_url) as client:
            states = {
                run["id"]: run["state"]["type"] for run in post(client, "/flow_runs/filter", {})
            }
            of_flow = {"flows": {"name": {"any_": ["through TLS"]}}}
            (used,) = post(client, "/flow_runs/filter", of_flow)
            assert used["state"]["type"] == "COMPLETED"
            assert states[stopped_run[0]] in {"CRASHED", "CANCELLED"}
            assert "RUNNING" not in states.values()
            tasks = post(client, "/task_runs/filter", {})
            assert "RUNNING" not in {task["state"]["type"] for task in tasks}
        assert again.end(signal.SIGINT) == 0
    finally:
        again.close()
