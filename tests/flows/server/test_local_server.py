"""One real server a history: shared by runs that start together, stopped, never mistaken."""

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


def split_by_ownership(
    history: Path, runs: "list[subprocess.Popen[str]]"
) -> "list[subprocess.Popen[str]]":
    """Give the run that owns the server first."""
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
            pass  # cut off in the middle, or slow
        time.sleep(0.05)
    pytest.fail("the server outlived its owner")


@pytest.mark.slow
def test_runs_that_start_together_share_one_server_until_its_owner_ends(history: Path) -> None:
    runs = [start_run(), start_run()]
    try:
        addresses = {line_of(run) for run in runs}
        assert len(addresses) == 1
        (api_url,) = addresses
        assert httpx.get(f"{api_url}/health").json() is True
        owner, joined = split_by_ownership(history, runs)
        assert joined.communicate("go on\n", timeout=60)[0] == ""
        assert running_server() == api_url, "the run that joined left the server as it was"
        owner.communicate("go on\n", timeout=60)
        assert not (history / "server.json").exists()
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{api_url}/health")
    finally:
        for run in runs:
            run.kill()
            run.communicate()


@pytest.mark.slow
def test_a_killed_owner_is_named_by_the_run_that_joined_and_followed_by_a_new_one(
    history: Path,
) -> None:
    runs = [start_run(), start_run()]
    try:
        addresses = {line_of(run) for run in runs}
        owner, joined = split_by_ownership(history, runs)
        owner.kill()
        owner.communicate()
        wait_until_gone(*addresses)  # it hears of its owner's end a moment later
        assert "run again" in joined.communicate("go on\n", timeout=60)[0]
        assert (history / "server.json").exists(), "left by the killed one"
        with prefect_server() as api_url:
            assert api_url not in addresses
            assert httpx.get(f"{api_url}/health").json() is True
    finally:
        for run in runs:
            run.kill()
            run.communicate()


def fail_where_no_failure_can_be_noted(sentence: str) -> None:
    try:
        raise StageError(sentence)
    except StageError:
        raise httpx.ConnectError("no route to it")  # noqa: B904 - as Prefect does


def test_a_given_server_that_is_gone_is_told_unless_that_hides_another_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    api_url = "http://127.0.0.1:9/api"
    monkeypatch.setenv("PREFECT_API_URL", api_url)
    health = [True, False, True, False, True, True]
    monkeypatch.setattr(server, "_is_healthy", lambda asked: asked == api_url and health.pop(0))
    with pytest.raises(StageError, match=r"does not answer any more.* run again"), prefect_server():
        raise httpx.ConnectError("no route to it")
    with pytest.raises(StageError, match=r"^The shares go on\.$"), prefect_server():
        fail_where_no_failure_can_be_noted("The shares go on.")
    with pytest.raises(httpx.ConnectError), prefect_server():
        raise httpx.ConnectError("to another server: this one answers")


def test_a_port_that_another_program_listens_on_is_refused(history: Path) -> None:
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


def test_a_history_that_cannot_be_written_is_told_with_the_variable_that_names_another(
    history: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (history / "file").touch()
    monkeypatch.setenv("PREFECT_HOME", str(history / "file"))
    with (
        pytest.raises(ConfigError, match=r"cannot be written .* PREFECT_HOME"),
        prefect_server(),
    ):
        pytest.fail("a server started on a history that nothing can be written to")


@pytest.mark.slow
def test_a_server_that_cannot_start_names_its_log(history: Path) -> None:
    (history / "prefect.db").write_text("no database" * 1_000)
    with pytest.raises(ToolError, match=r"server\.log"), prefect_server():
        pytest.fail("a server started on a broken database")
    assert "PREFECT_API_URL" not in os.environ
