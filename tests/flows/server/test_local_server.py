"""One real server (`flows.server.process`) per history, from its first user to its last."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from flows.server import local_server as server
from flows.server.local_server import Listen, prefect_server, running_server, server_is_alive
from storage.errors import ConfigError, StageError, ToolError

USE_SERVER = """
import sys, httpx
from flows.server.local_server import prefect_server
from storage.errors import StageError
try:
    with prefect_server() as api_url:
        print(api_url, flush=True)
        sys.stdin.readline()
        httpx.get(api_url + "/health", timeout=5)
except StageError as error:
    print(error, flush=True)
"""

CHANGE_WHILE_COMPARED = """
import asyncio
from flows.server.process import note_automations_without_waiting
note_automations_without_waiting()
from prefect.server.database import provide_database_interface
from prefect.server.events import triggers
from prefect.server.events.models.automations import create_automation
from prefect.server.events.schemas.automations import Automation, EventTrigger, Posture
from prefect.server.events.actions import DoNothing

async def main():
    trigger = EventTrigger(expect={"an event"}, posture=Posture.Reactive, threshold=1)
    automation = Automation(name="new", trigger=trigger, actions=[DoNothing()])
    async with triggers._automations_lock():  # as while the server compares its list
        async with provide_database_interface().session_context(begin_transaction=True) as session:
            made = await create_automation(session=session, automation=automation)
    while made.id not in triggers.automations_by_id:
        await asyncio.sleep(0.05)
    print("noted")

asyncio.run(main())
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


def server_process(history: Path) -> int:
    return int(json.loads((history / "server.json").read_text())["process_id"])


def wait_for(condition: Callable[[], bool], message: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, message
        time.sleep(0.05)


def end(run: "subprocess.Popen[str]", *, how: str) -> str:
    """End a run as it ends by itself or killed; returns what it printed at last."""
    if how == "killed":
        run.kill()
        return run.communicate()[0]
    return run.communicate("continue\n", timeout=60)[0]


@pytest.mark.slow
@pytest.mark.parametrize(("first", "how"), [("starter", "killed"), ("joiner", "ended")])
def test_a_server_serves_two_runs_until_the_last_one_ends_or_is_killed(
    history: Path, first: str, how: str
) -> None:
    starter = start_run()
    api_url = line_of(starter)
    joiner = start_run()
    try:
        assert line_of(joiner) == api_url
        leaver, stayer = (starter, joiner) if first == "starter" else (joiner, starter)
        end(leaver, how=how)
        time.sleep(4)  # longer than a server without users lives
        assert running_server() == api_url
        process_id = server_process(history)
        assert end(stayer, how=how) == "", "the other one was not cut off"
        wait_for(lambda: not server_is_alive(), "the server outlived its last user")
        wait_for(lambda: not Path(f"/proc/{process_id}").exists(), "its process remained")
        assert not (history / "server.json").exists()
    finally:
        for run in (starter, joiner):
            run.kill()
            run.communicate()


@pytest.mark.slow
def test_runs_that_start_together_start_one_server(history: Path) -> None:
    runs = [start_run(), start_run(), start_run()]
    try:
        assert len({line_of(run) for run in runs}) == 1
        assert [end(run, how="ended") for run in runs] == ["", "", ""]
        assert not server_is_alive()
    finally:
        for run in runs:
            run.kill()
            run.communicate()


@pytest.mark.slow
def test_a_run_that_is_killed_while_its_server_starts_leaves_no_server_behind(
    history: Path,
) -> None:
    run = start_run()
    wait_for(server_is_alive, "no server started")
    run.kill()
    run.communicate()
    with prefect_server() as api_url:  # joins the one that is starting, or starts another
        assert httpx.get(f"{api_url}/health").json() is True
        process_id = server_process(history)
    assert not server_is_alive()
    wait_for(lambda: not Path(f"/proc/{process_id}").exists(), "its process remained")


@pytest.mark.slow
def test_a_run_whose_server_was_killed_explains_it_and_the_next_run_starts_another(
    history: Path,
) -> None:
    run = start_run()
    try:
        api_url = line_of(run)
        os.kill(server_process(history), signal.SIGKILL)
        wait_for(lambda: not server_is_alive(), "the server was not killed")
        assert "run again" in end(run, how="ended")
        assert (history / "server.json").exists(), "the killed server leaves it behind"
        with prefect_server() as other_url:
            assert other_url != api_url
            assert httpx.get(f"{other_url}/health").json() is True
    finally:
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
    monkeypatch.setattr(server, "check_access", lambda url, name: None)
    health = [False, False, True, False]
    monkeypatch.setattr(server, "is_healthy", lambda url: url == api_url and health.pop(0))
    with pytest.raises(StageError, match=r"no longer responds.* run again"), prefect_server():
        raise httpx.ConnectError("no route to host")
    with pytest.raises(StageError, match=r"^Two partitions failed\.$"), prefect_server():
        fail_without_recording_it("Two partitions failed.")
    with pytest.raises(httpx.ConnectError), prefect_server():
        raise httpx.ConnectError("of another server: this one is healthy")
    with pytest.raises(ZeroDivisionError), prefect_server():
        raise ZeroDivisionError("a fault of the run, while the server is slow")


def test_a_port_in_use_by_another_program_is_a_mistake(history: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with (
            pytest.raises(ConfigError, match=f"Port {port} of .*--port"),
            prefect_server(Listen(port=port)),
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


@pytest.mark.slow
def test_an_automation_that_changes_while_the_server_compares_its_list_blocks_nothing(
    history: Path,
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", CHANGE_WHILE_COMPARED],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert ended.stdout.splitlines()[-1:] == ["noted"], ended.stderr
