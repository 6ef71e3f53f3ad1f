"""A real local Prefect server with SQLite, started for a run, its history kept.

`PREFECT_API_URL` set: that server is used and nothing is started. Otherwise one server serves the
history folder at a time: its owner holds `server.lock` there, and its address stands in
`server.json`, where a second command finds it.
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

from flows.server.history import close_dead_runs
from storage.errors import ConfigError, StageError, ToolError, WaverError

_START_SECONDS = 180.0
_QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "waver",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
}


def prepare_environment(history: Path) -> None:
    """Set what Prefect reads when it is imported: call this before the first import of it.

    Prefect's own console log is silenced: the terminal shows Waver's progress, the UI everything.
    """
    home = Path(os.environ.setdefault("PREFECT_HOME", str(history.resolve())))
    with _writing_history(home):
        home.mkdir(parents=True, exist_ok=True)
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)


@contextlib.contextmanager
def _writing_history(home: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"Prefect's history {str(home)!r} cannot be written ({error.strerror}): name a folder "
            "you may write to in PREFECT_HOME, or a server in PREFECT_API_URL."
        ) from error


def _is_healthy(api_url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{api_url}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _history() -> Path:
    return Path(os.environ["PREFECT_HOME"])


def _address_file() -> Path:
    return _history() / "server.json"


def running_server() -> str | None:
    """Give the API address of the server that serves this history now, if one does."""
    try:
        api_url = str(json.loads(_address_file().read_text())["api_url"])
    except (OSError, ValueError, KeyError):
        return None
    return api_url if _is_healthy(api_url) else None


@contextlib.contextmanager
def prefect_server(port: int | None = None) -> Iterator[str]:
    """Give a Prefect API address that answers; a server started here is stopped at the end.

    The first run on a history owns its server and stops it when it ends; a run that joined it is
    then cut off, and fails with a sentence that says so.

    Raises:
        ConfigError: the port is taken by another program.
        ToolError: the server did not answer in time; names its log.
        StageError: the server of another run, which this one had joined, or the one given, ended
            first.
    """
    if given := os.environ.get("PREFECT_API_URL"):
        if not _is_healthy(given):
            raise ConfigError(
                f"No Prefect server answers at PREFECT_API_URL {given!r}: start it, or unset the "
                "variable to have one started for the run."
            )
        with _explain_lost_server(given):
            yield given
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
                f"The Prefect server at {api_url!r} ended with the run or the `waver ui` that had "
                "started it. What was finished is kept: run again to go on."
            ) from error
        finally:
            os.environ.pop("PREFECT_API_URL", None)


@contextlib.contextmanager
def _explain_lost_server(api_url: str) -> Iterator[None]:
    """Turn what Prefect raises where its server is gone into a sentence: one of ours, if it hides.

    Prefect cannot note there that a run has failed, and raises that instead of why it had.
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
            str(hidden or f"The Prefect server at PREFECT_API_URL {api_url!r} does not answer any "
                "more. What was finished is kept: see to the server and run again to go on.")
        ) from error  # fmt: skip


def _own_history(stack: contextlib.ExitStack) -> bool:
    """Lock the history for as long as the stack lives, unless another process has it.

    The lock goes with the process that holds it, also when that is killed: whoever has it knows
    that no server serves this history and that no run on it is alive.
    """
    with _writing_history(_history()):
        lock = stack.enter_context((_history() / "server.lock").open("w"))
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    _address_file().unlink(missing_ok=True)
    return True


def _server_of_another_run() -> str:
    """Wait for the address of the server that another process owns, or is starting."""
    deadline = time.monotonic() + _START_SECONDS
    while not (api_url := running_server()):
        if time.monotonic() > deadline:
            raise ToolError(
                f"Another run owns the Prefect history {str(_history())!r}, but its server does "
                "not answer. End that run, or set PREFECT_API_URL to use a server of your own."
            )
        time.sleep(0.2)
    return api_url


def _listen(port: int | None) -> socket.socket:
    """Take the port before the server starts: no other program can then answer in its place."""
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(("127.0.0.1", port or 0))
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise ConfigError(
            f"Port {port!r} cannot be used for the Prefect UI ({error.strerror}): choose a free "
            "one, as in `waver ui --port 4201`."
        ) from error
    return listening


@contextlib.contextmanager
def _own_server(port: int | None) -> Iterator[str]:
    """Start a server on the locked history, note its address there, and stop it at the end."""
    with _listen(port) as listening:
        api_url = f"http://127.0.0.1:{listening.getsockname()[1]}/api"
        process = _start(listening, api_url)
    try:
        _wait_until_healthy(api_url, process)
        close_dead_runs(api_url)
        noted = {"api_url": api_url, "process_id": process.pid}
        writing = _address_file().with_suffix(".tmp")
        writing.write_text(json.dumps(noted))
        writing.replace(_address_file())
        yield api_url
    finally:
        _address_file().unlink(missing_ok=True)
        _stop(process)


def _start(listening: socket.socket, api_url: str) -> "subprocess.Popen[bytes]":
    with (_history() / "server.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "flows.server.process", str(listening.fileno())],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=(listening.fileno(),),
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
                f"The local Prefect server did not start: its log is "
                f"{str(_history() / 'server.log')!r}. "
                "Set PREFECT_API_URL to use a server of your own."
            )
        time.sleep(0.2)
