"""`waver serve` as a user starts it: the server, the pools and their workers, and what dies there.

The pools are `flows.server.pools`, a worker's process is `flows.server.worker`, requests go through
`flows.server.connection`. Everything is real: processes, kills, Chromium.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flows.server.automation import AUTOMATION, WITHOUT_HEARTBEAT_SECONDS
from flows.server.connection import api_client, check_access, post
from storage.errors import ConfigError
from tests.flows.operations.served import Served, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

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
    time.sleep(15)  # several renewals of its lease
    assert served.state(run) == "RUNNING"
    second = served.run(deployment, tmp_path / "go")
    wait_for(lambda: served.state(second) == "CANCELLED", "the limit was lost")
    (tmp_path / "go").touch()
    wait_for(lambda: served.state(run) == "COMPLETED", "the run did not survive the restart")


def is_up(served: Served) -> bool:
    try:
        check_access(served.api_url)
    except ConfigError:
        return False
    return True


def test_a_server_with_a_password_and_a_certificate_admits_those_who_have_both(
    new_history: Callable[[pytest.MonkeyPatch], Path],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    home = new_history(monkeypatch)
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
    served = Served(
        home, "--no-workers", *files, scheme="https", PREFECT_SERVER_API_AUTH_STRING="waver:secret"
    )
    try:
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
        with pytest.raises(ConfigError, match="set PREFECT_API_SSL_CERT_FILE"):
            check_access(served.api_url)
        monkeypatch.setenv("PREFECT_API_SSL_CERT_FILE", str(certificate))
        with pytest.raises(ConfigError, match="set PREFECT_API_AUTH_STRING"):
            check_access(served.api_url)
        monkeypatch.setenv("PREFECT_API_AUTH_STRING", "waver:secret")
        check_access(served.api_url)
        environment = {**os.environ, "PREFECT_API_URL": served.api_url}
        subprocess.run([sys.executable, "-c", USE], env=environment, check=True, timeout=200)
        with api_client(served.api_url) as client:
            (run,) = post(client, "/flow_runs/filter", {})
            assert run["state"]["type"] == "COMPLETED"
        assert served.end(signal.SIGINT) == 0
    finally:
        served.close()
