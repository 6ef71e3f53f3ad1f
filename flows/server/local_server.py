"""A Prefect server with SQLite (or an external database) that lives while commands use it.

If `PREFECT_API_URL` is set, that server is used and none is started. Otherwise one server at a time
serves the history folder: the first command starts it, others find its address in `server.json`,
and it ends with the last of them, whichever that is and however it ends (`flows.server.locks`).
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import httpx

from flows.server import locks
from flows.server.connection import check_access, is_healthy
from flows.server.environment import explain_unwritable_history, server_environment
from storage.errors import ConfigError, StageError, ToolError, WaverError

_START_SECONDS = 180.0
_STOP_SECONDS = 15.0
_LEAVE_SECONDS = 0.3
_POLL_SECONDS = 0.1
_ANY_HOST = ("0.0.0.0", "::", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """Where a server that is started here listens; HTTPS if it has a certificate.

    ``port`` None is any free one. ``certificate`` and ``key`` are PEM files.
    """

    host: str = "127.0.0.1"
    port: int | None = None
    certificate: Path | None = None
    key: Path | None = None

    def api_url(self, port: int) -> str:
        """Return the API's URL on this computer."""
        scheme = "https" if self.certificate else "http"
        host = "127.0.0.1" if self.host in _ANY_HOST else self.host
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/api"


def history_folder() -> Path:
    """Return the folder of the history, Prefect's home."""
    return Path(os.environ["PREFECT_HOME"])


def address_file(history: Path) -> Path:
    """Return the file that names the server of a history: its `api_url` and `process_id`."""
    return history / "server.json"


def running_server() -> str | None:
    """Return the API URL of the server that currently serves this history, if there is one."""
    try:
        api_url = str(json.loads(address_file(history_folder()).read_text())["api_url"])
    except (OSError, ValueError, KeyError):
        return None
    return api_url if is_healthy(api_url) else None


def server_is_alive() -> bool:
    """Return whether the process of this history's server lives, however busy it is."""
    return locks.is_alive(history_folder())


@contextlib.contextmanager
def prefect_server(listen: Listen | None = None) -> Iterator[str]:
    """Yield the API URL of a healthy Prefect server, which stays up at least until the body ends.

    Raises:
        ConfigError: the port is taken, or no server responds at `PREFECT_API_URL`.
        ToolError: the server did not start in time.
        StageError: the server stopped during the body.
    """
    if external := os.environ.get("PREFECT_API_URL"):
        check_access(external, "PREFECT_API_URL ")
        with _explain_lost_server(external):
            yield external
        return
    history = history_folder()
    with explain_unwritable_history(history):
        stack = contextlib.ExitStack()
        users = stack.enter_context(locks.use(history))
    with stack:
        api_url = _join_or_start(history, listen or Listen())
        check_access(api_url)
        os.environ["PREFECT_API_URL"] = api_url
        try:
            with _explain_lost_server(api_url):
                yield api_url
        finally:
            os.environ.pop("PREFECT_API_URL", None)
            _end_unused(history, users)


def restart_server(listen: Listen) -> str:
    """Start the server of this history again if its process has died; returns its API URL."""
    return _join_or_start(history_folder(), listen)


def lost_server_message(api_url: str) -> str:
    """Return the sentence for a run whose server is gone."""
    return (
        f"The Prefect server at {api_url!r} no longer responds. Finished results are kept: run "
        "again to continue."
    )


@contextlib.contextmanager
def _explain_lost_server(api_url: str) -> Iterator[None]:
    """Turn Prefect's error about a lost server into a StageError.

    Prefect raises it when it cannot record that a run failed; Waver's own error is then in its
    context, and is the one to raise. Errors that are not Prefect's or the network's pass through.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, WaverError) or is_healthy(api_url):
            raise
        causes = list(_causes(error))
        if own := next((cause for cause in causes if isinstance(cause, WaverError)), None):
            raise own from error
        from prefect.exceptions import PrefectException  # once its environment is prepared

        if not any(isinstance(cause, httpx.HTTPError | PrefectException) for cause in causes):
            raise
        raise StageError(lost_server_message(api_url)) from error


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what it arose from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _join_or_start(history: Path, listen: Listen) -> str:
    start = locks.lock(history / locks.START, _START_SECONDS)
    if start is None:
        raise ToolError(
            f"A Prefect server on the history {str(history)!r} has been starting or ending for "
            f"{_START_SECONDS:.0f} s: see its log {str(history / 'server.log')!r}, or set "
            "PREFECT_API_URL to use another server."
        )
    with start:
        if server_is_alive():
            return _address_of_running(history)
        return _start(history, listen, start)


def _address_of_running(history: Path) -> str:
    """Wait until the server responds: it may be busy."""
    deadline = time.monotonic() + _START_SECONDS
    while not (api_url := running_server()):
        if time.monotonic() > deadline or not server_is_alive():
            raise ToolError(
                f"The Prefect server on the history {str(history)!r} does not respond: see its log "
                f"{str(history / 'server.log')!r}, or set PREFECT_API_URL to use another server."
            )
        time.sleep(_POLL_SECONDS)
    return api_url


def _start(history: Path, listen: Listen, start: IO[str]) -> str:
    """Start a server; it inherits the start lock until it has published its address."""
    address_file(history).unlink(missing_ok=True)
    with _bind(listen) as listener, (history / "server.log").open("ab") as log:
        api_url = listen.api_url(listener.getsockname()[1])
        files = (listener.fileno(), start.fileno())
        process = subprocess.Popen(
            [
                sys.executable, "-m", "flows.server.process", api_url, *map(str, files),
                *(str(path.resolve()) for path in (listen.certificate, listen.key) if path),
            ],
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            start_new_session=True, pass_fds=files,
            env=server_environment(api_url.removesuffix("/api")),
        )  # fmt: skip
    deadline = time.monotonic() + _START_SECONDS
    while not (address_file(history).exists() and is_healthy(api_url)):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            process.wait()
            raise ToolError(
                f"The local Prefect server did not start: see its log "
                f"{str(history / 'server.log')!r}, or set PREFECT_API_URL to use another server."
            )
        time.sleep(_POLL_SECONDS)
    process.returncode = 0  # not waited for: it may outlive this process
    return api_url


def _bind(listen: Listen) -> socket.socket:
    """Bind the port before the server starts, so that no other program can respond on it."""
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((listen.host, listen.port or 0))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"Port {listen.port!r} of {listen.host!r} cannot be used for the Prefect server "
            f"({error.strerror}): choose a free one, as in `--port 4201`."
        ) from error
    return listener


def _end_unused(history: Path, users: IO[str]) -> None:
    """End the server now if nobody else uses it; it would end itself a moment later.

    The exclusive locks guarantee that nobody joins it meanwhile, and that the process is the
    server and no later one with its number.
    """
    start = locks.lock(history / locks.START, _STOP_SECONDS)
    if start is None:
        return
    with start:
        if not (locks.upgrade_within(users, _LEAVE_SECONDS) and server_is_alive()):
            return
        try:
            process_id = int(json.loads(address_file(history).read_text())["process_id"])
        except (OSError, ValueError, KeyError):
            return
        address_file(history).unlink(missing_ok=True)
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process_id, number)
            if _has_ended(process_id):
                return


def _has_ended(process_id: int) -> bool:
    """Wait for the server's end, and reap it if it was started here."""
    deadline = time.monotonic() + _STOP_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(process_id, os.WNOHANG)
        if not server_is_alive():
            return True
        time.sleep(_POLL_SECONDS)
    return False
