"""A real local Prefect server with SQLite, started for a run, its history kept.

`PREFECT_API_URL` set: that server is used and nothing is started. Otherwise one server serves the
history folder at a time; its address stands in `server.json` there, so that a second command finds
the first one's server.
"""

import contextlib
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

from flows.history import close_dead_runs
from storage.errors import ToolError
from storage.store import writing_to

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
    with writing_to(str(home)):
        home.mkdir(parents=True, exist_ok=True)
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_healthy(api_url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{api_url}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _address_file() -> Path:
    return Path(os.environ["PREFECT_HOME"]) / "server.json"


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

    Raises:
        ToolError: the server did not answer in time; names its log.
    """
    given = os.environ.get("PREFECT_API_URL") or running_server()
    if given:
        os.environ["PREFECT_API_URL"] = given
        yield given
        return
    history = Path(os.environ["PREFECT_HOME"])
    port = port or _free_port()
    api_url = f"http://127.0.0.1:{port}/api"
    with (history / "server.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.server_process", str(port)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "PREFECT_SERVER_UI_API_URL": api_url, "PREFECT_API_URL": ""},
        )
    try:
        _wait_until_healthy(api_url, process, history / "server.log")
        _address_file().write_text(json.dumps({"api_url": api_url, "process_id": process.pid}))
        os.environ["PREFECT_API_URL"] = api_url
        close_dead_runs(api_url)
        yield api_url
    finally:
        os.environ.pop("PREFECT_API_URL", None)
        _address_file().unlink(missing_ok=True)
        process.terminate()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_healthy(api_url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not _is_healthy(api_url):
        if process.poll() is not None or time.monotonic() > deadline:
            raise ToolError(
                f"The local Prefect server did not start: its log is {str(log)!r}. "
                "Set PREFECT_API_URL to use a server of your own."
            )
        time.sleep(0.2)
