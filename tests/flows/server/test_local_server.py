"""One real server (`flows.server.process`) per history.

It is shared by runs that start together, and stopped with its owner.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from flows.server import local_server as server
from flows.server.local_server import prefect_server, running_server
from storage.errors import ConfigError, StageError, ToolError

USE_SERVER = """
import sys, urllib.request
from flows.server.local_server import prefect_server
from storage.errors import StageError
try:
    with prefect_server() as api_url:
        print(api_url, flush=True)
        sys.stdin.readline()
        urllib.request.urlopen(api_url + "/health", timeout=5)
except StageError as error:
    print(error, flush=True)
"""


@pytest.fixture
def history(
    new_history: Callable[[pytest.MonkeyPatch], Path], monkeypatch: pytest.MonkeyPatch
) -> Path:
    return new_history(monkeypatch)


def start_run() -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", USE_SERVER],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def line_of(run: "subprocess.Popen[str]") -> str:
    assert run.stdout is not None
    return run.stdout.readline().strip()


def parent_of(process_id: int) -> int:
    status = Path(f"/proc/{process_id}/status").read_text()
    return int(status.split("PPid:")[1].split()[0])


def owner_first(
    history: Path, runs: "list[subprocess.Popen[str]]"
) -> "list[subprocess.Popen[str]]":
    """Return the runs with the owner of the server first."""
    owner = parent_of(json.loads((history / "server.json").read_text())["process_id"])
    return sorted(runs, key=lambda run: run.pid != owner)


def wait_until_gone(api_url: str) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            httpx.get(f"{api_url}/health")
        except httpx.ConnectError:
            return
        except httpx.TransportError:
            pass  # disconnected, or slow
        time.sleep(0.05)
    pytest.fail("the server outlived its owner")


@pytest.mark.slow
def test_runs_that_start_together_use_one_server_until_its_owner_ends(history: Path) -> None:
    runs = [start_run(), start_run()]
    try:
        addresses = {line_of(run) for run in runs}
        assert len(addresses) == 1
        (api_url,) = addresses
        assert httpx.get(f"{api_url}/health").json() is True
        owner, joined = owner_first(history, runs)
        assert joined.communicate("continue\n", timeout=60)[0] == ""
        assert running_server() == api_url, "the run that joined left the server running"
        owner.communicate("continue\n", timeout=60)
        assert not (history / "server.json").exists()
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{api_url}/health")
    finally:
        for run in runs:
            run.kill()
            run.communicate()


@pytest.mark.slow
def test_a_run_that_joined_explains_that_the_owner_was_killed_and_the_next_run_starts_a_server(
    history: Path,
) -> None:
    runs = [start_run(), start_run()]
    try:
        addresses = {line_of(run) for run in runs}
        owner, joined = owner_first(history, runs)
        owner.kill()
        owner.communicate()
        wait_until_gone(*addresses)  # it notices the end of its owner a moment later
        assert "run again" in joined.communicate("continue\n", timeout=60)[0]
        assert (history / "server.json").exists(), "the killed owner leaves it behind"
        with prefect_server() as api_url:
            assert api_url not in addresses
            assert httpx.get(f"{api_url}/health").json() is True
    finally:
        for run in runs:
            run.kill()
            run.communicate()


def fail_without_recording_it(sentence: str) -> None:
    try:
        raise StageError(sentence)
    except StageError:
        raise httpx.ConnectError("no route to host")  # noqa: B904 - as Prefect does


def test_a_lost_external_server_is_reported_unless_that_hides_the_error_of_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    api_url = "http://127.0.0.1:9/api"
    monkeypatch.setenv("PREFECT_API_URL", api_url)
    health = [True, False, True, False, True, True]
    monkeypatch.setattr(server, "_is_healthy", lambda url: url == api_url and health.pop(0))
    with pytest.raises(StageError, match=r"no longer responds.* run again"), prefect_server():
        raise httpx.ConnectError("no route to host")
    with pytest.raises(StageError, match=r"^Two partitions failed\.$"), prefect_server():
        fail_without_recording_it("Two partitions failed.")
    with pytest.raises(httpx.ConnectError), prefect_server():
        raise httpx.ConnectError("of another server: this one is healthy")


def test_a_port_in_use_by_another_program_is_a_mistake(history: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with (
            pytest.raises(ConfigError, match=f"Port {port} .* --port"),
            prefect_server(port),
        ):
            pytest.fail("a server started on another program's port")
    assert not (history / "server.log").exists()


def test_an_unwritable_history_is_a_mistake_that_names_the_variable_to_set(
    history: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (history / "file").touch()
    monkeypatch.setenv("PREFECT_HOME", str(history / "file"))
    with (
        pytest.raises(ConfigError, match=r"cannot be written .* PREFECT_HOME"),
        prefect_server(),
    ):
        pytest.fail("a server started on an unwritable history")


@pytest.mark.slow
def test_a_server_that_cannot_start_names_its_log(history: Path) -> None:
    (history / "prefect.db").write_text("no database" * 1_000)
    with pytest.raises(ToolError, match=r"server\.log"), prefect_server():
        pytest.fail("a server started on a broken database")
    assert "PREFECT_API_URL" not in os.environ
