"""`waver serve`: a Prefect server, the work pools and a worker for each, on one computer."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console

from flows.commands.termination import Terminated
from flows.server.connection import api_client
from flows.server.environment import worker_environment
from flows.server.local_server import Listen, prefect_server, restart_server, server_is_alive
from flows.server.pools import WORKER_LIMITS, ensure_pools
from flows.server.worker import stop_group
from storage.errors import ConfigError, WaverError

_POLL_SECONDS = 0.5
_RESTART_SECONDS = 10.0  # at least, between two starts of the same
_SERVER = "server"


def serve(listen: Listen, *, with_workers: bool) -> None:
    """Serve Prefect's API and UI, and run deployments, until Ctrl-C or SIGTERM.

    Raises:
        ConfigError: the port is taken, or another server already serves this history.
        ToolError: the server does not start.
    """
    console = Console()
    with _trusting(listen.certificate), prefect_server(listen) as api_url:
        if api_url != listen.api_url(listen.port or 0):
            raise ConfigError(
                f"Another command already serves this history at {api_url!r}: wait until it ends, "
                "or set PREFECT_HOME to the folder of another history."
            )
        with api_client(api_url) as client:
            ensure_pools(client)
        console.print(f"Prefect UI:      [bold]{api_url.removesuffix('/api')}[/bold]")
        console.print(f"PREFECT_API_URL: [bold]{api_url}[/bold]", highlight=False)
        try:
            with _workers(api_url, WORKER_LIMITS if with_workers else ()) as workers:
                console.print(f"Workers:         {', '.join(workers) or 'none'}; stop with Ctrl-C")
                _supervise(workers, listen)
        except (KeyboardInterrupt, Terminated):
            console.print("Stopped; the history is kept.")


@contextlib.contextmanager
def _trusting(certificate: Path | None) -> Iterator[None]:
    """Let this process and its workers trust the server's own certificate."""
    name = "PREFECT_API_SSL_CERT_FILE"
    if certificate is None or name in os.environ:
        yield
        return
    os.environ[name] = str(certificate.resolve())
    try:
        yield
    finally:
        del os.environ[name]


def _start_worker(pool: str, api_url: str) -> "subprocess.Popen[bytes]":
    limit = WORKER_LIMITS[pool]
    command = [sys.executable, "-m", "flows.server.worker", pool]
    return subprocess.Popen(
        command if limit is None else [*command, str(limit)],
        stdin=subprocess.PIPE,
        start_new_session=True,
        env=worker_environment(api_url),
    )


@contextlib.contextmanager
def _workers(api_url: str, pools: Iterable[str]) -> "Iterator[dict[str, subprocess.Popen[bytes]]]":
    """Run a worker for each pool during the body, and end them with the runs they have started."""
    workers = {pool: _start_worker(pool, api_url) for pool in pools}
    try:
        yield workers
    finally:
        _stop(workers)


def _supervise(workers: "dict[str, subprocess.Popen[bytes]]", listen: Listen) -> None:
    """Start again what ends: the server, which the runs wait for meanwhile, and the workers."""
    started = dict.fromkeys((_SERVER, *workers), time.monotonic())
    while True:
        time.sleep(_POLL_SECONDS)
        for name in started:
            ended = not server_is_alive() if name == _SERVER else workers[name].poll() is not None
            if not ended or time.monotonic() - started[name] < _RESTART_SECONDS:
                continue
            if name == _SERVER:
                _restart_server(listen)
            else:
                _stop({name: workers[name]})
                workers[name] = _start_worker(name, listen.api_url(listen.port or 0))
            started[name] = time.monotonic()


def _restart_server(listen: Listen) -> None:
    """Start the server again, or log why not: another attempt follows, and the runs wait."""
    try:
        restart_server(listen)
    except WaverError as error:
        Console(stderr=True).print(f"waver: {error}", style="red", markup=False)


def _stop(workers: "Mapping[str, subprocess.Popen[bytes]]") -> None:
    """End the workers and the runs that they have started."""
    with ThreadPoolExecutor() as threads:
        list(threads.map(stop_group, [worker.pid for worker in workers.values()]))
    for worker in workers.values():
        with worker:
            worker.wait()
