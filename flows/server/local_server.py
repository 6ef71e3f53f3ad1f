"""A local Prefect server with SQLite that lives as long as a run; its history is kept.

If `PREFECT_API_URL` is set, that server is used and none is started. Otherwise one server at a time
serves the history folder: the process that started it holds `server.lock` there, and other commands
find its address in `server.json`.
"""

import contextlib
import fcntl
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from flows.server.environment import explain_unwritable_history
from flows.server.history import close_dead_runs
from storage.errors import ConfigError, StageError, ToolError, WaverError
from storage.store.atomic import atomic_file

_START_SECONDS = 180.0


def _is_healthy(api_url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{api_url}/health", timeout=2) as response:
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _history() -> Path:
    return Path(os.environ["PREFECT_HOME"])


def _address_file() -> Path:
    return _history() / "server.json"


def running_server() -> str | None:
    """Return the API URL of the server that currently serves this history, if there is one."""
    try:
        api_url = str(json.loads(_address_file().read_text())["api_url"])
    except (OSError, ValueError, KeyError):
        return None
    return api_url if _is_healthy(api_url) else None


@contextlib.contextmanager
def prefect_server(port: int | None = None) -> Iterator[str]:
    """Yield the API URL of a healthy Prefect server; a server started here is stopped at the end.

    The first run on a history owns its server and stops it when it ends. A run that joined this
    server then fails with a StageError.

    Raises:
        ConfigError: the port is taken, or no server responds at `PREFECT_API_URL`.
        ToolError: the server did not start in time.
        StageError: a server that this process does not own stopped during the run.
    """
    if external := os.environ.get("PREFECT_API_URL"):
        if not _is_healthy(external):
            raise ConfigError(
                f"No Prefect server responds at PREFECT_API_URL {external!r}: start it, or unset "
                "the variable to start one for the run."
            )
        with _explain_lost_server(external):
            yield external
        return
    with contextlib.ExitStack() as stack:
        owns = _own_history(stack)
        api_url = stack.enter_context(_own_server(port)) if owns else _server_of_another_run()
        os.environ["PREFECT_API_URL"] = api_url
        try:
            yield api_url
        except Exception as error:
            if owns or _is_healthy(api_url):
                raise
            raise StageError(
                f"The Prefect server at {api_url!r} stopped with the run or the `waver ui` that "
                "started it. Finished results are kept: run again to continue."
            ) from error
        finally:
            os.environ.pop("PREFECT_API_URL", None)


@contextlib.contextmanager
def _explain_lost_server(api_url: str) -> Iterator[None]:
    """Turn Prefect's error about a lost server into a StageError.

    Prefect raises it when it cannot record that a run failed; Waver's own error is then in its
    context, and its message is the one to show.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, WaverError) or _is_healthy(api_url):
            raise
        hidden = error.__cause__ or error.__context__
        while not (hidden is None or isinstance(hidden, WaverError)):
            hidden = hidden.__cause__ or hidden.__context__
        raise StageError(
            str(hidden or f"The Prefect server at PREFECT_API_URL {api_url!r} no longer "
                "responds. Finished results are kept: restart the server, then run again to "
                "continue.")
        ) from error  # fmt: skip


def _own_history(stack: contextlib.ExitStack) -> bool:
    """Lock the history until the stack closes; returns False if another process holds the lock.

    The lock is released when its process ends, even if it is killed. Its holder therefore knows
    that no server serves this history and that none of its runs is alive.
    """
    with explain_unwritable_history(_history()):
        lock = stack.enter_context((_history() / "server.lock").open("w"))
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    _address_file().unlink(missing_ok=True)
    return True


def _server_of_another_run() -> str:
    """Wait for the API URL of the server that another process owns or is starting."""
    deadline = time.monotonic() + _START_SECONDS
    while not (api_url := running_server()):
        if time.monotonic() > deadline:
            raise ToolError(
                f"Another run owns the Prefect history {str(_history())!r}, but its server does "
                "not respond. Stop that run, or set PREFECT_API_URL to use another server."
            )
        time.sleep(0.2)
    return api_url


def _listen(port: int | None) -> socket.socket:
    """Bind the port before the server starts, so that no other program can respond on it."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port or 0))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"Port {port!r} cannot be used for the Prefect UI ({error.strerror}): choose a free "
            "one, as in `waver ui --port 4201`."
        ) from error
    return listener


@contextlib.contextmanager
def _own_server(port: int | None) -> Iterator[str]:
    """Start a server on the locked history, publish its address, and stop it at the end."""
    with _listen(port) as listener:
        api_url = f"http://127.0.0.1:{listener.getsockname()[1]}/api"
        process = _start(listener, api_url)
    try:
        _wait_until_healthy(api_url, process)
        close_dead_runs(api_url)
        address = {"api_url": api_url, "process_id": process.pid}
        with atomic_file(_address_file()) as temporary:
            temporary.write_text(json.dumps(address))
        yield api_url
    finally:
        _address_file().unlink(missing_ok=True)
        _stop(process)


def _start(listener: socket.socket, api_url: str) -> "subprocess.Popen[bytes]":
    with (_history() / "server.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "flows.server.process", str(listener.fileno())],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=(listener.fileno(),),
            env={**os.environ, "PREFECT_SERVER_UI_API_URL": api_url, "PREFECT_API_URL": ""},
        )


def _stop(process: "subprocess.Popen[bytes]") -> None:
    with process:
        process.terminate()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()


def _wait_until_healthy(api_url: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not _is_healthy(api_url):
        if process.poll() is not None or time.monotonic() > deadline:
            raise ToolError(
                f"The local Prefect server did not start: see its log "
                f"{str(_history() / 'server.log')!r}, or set PREFECT_API_URL to use another server."
            )
        time.sleep(0.2)
