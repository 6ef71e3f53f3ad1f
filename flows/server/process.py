"""The local Prefect server's process.

`python -m flows.server.process API_URL SOCKET START_LOCK [CERTIFICATE KEY]` gets the inherited file
descriptors of a listening socket and of the held start lock. It publishes its address, marks dead
runs as Crashed from time to time, and ends itself when nobody has used it for some seconds.
"""

import asyncio
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Coroutine
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

import httpx

from flows.server import locks
from flows.server.automation import ensure_crash_automation
from flows.server.connection import api_client, is_healthy
from flows.server.history import close_dead_runs
from flows.server.local_server import address_file, history_folder
from storage.store.atomic import atomic_file

_UNUSED_SECONDS = 3.0
_POLL_SECONDS = 0.5
_DEAD_RUN_SECONDS = 10.0
_LEASE_GRACE = timedelta(minutes=10)
_MAX_LEASES = 10_000


def main() -> None:
    """Serve Prefect's API and UI on the socket while any command uses it."""
    api_url, files = sys.argv[1], [int(number) for number in sys.argv[2:4]]
    history = history_folder()
    alive = locks.lock(history / locks.ALIVE, seconds=30)
    if alive is None:
        sys.exit("another server is alive on this history")
    listener = socket.socket(fileno=files[0])
    extend_leases()
    note_automations_without_waiting()
    threading.Thread(target=_run_or_end, args=(api_url, history, files[1]), daemon=True).start()
    _serve(listener, *sys.argv[4:6])


def _serve(listener: socket.socket, certificate: str | None = None, key: str | None = None) -> None:
    import uvicorn
    from prefect.server.api.server import create_app

    config = uvicorn.Config(
        create_app(), log_level="warning", ssl_certfile=certificate, ssl_keyfile=key
    )
    uvicorn.Server(config).run(sockets=[listener])


def extend_leases() -> None:
    """Let leases that ran out while no server was up live on: nobody could renew them.

    A run that is alive renews its own as soon as it reaches the server again; that of a dead run
    is released when the run becomes Crashed.
    """
    from prefect.server.concurrency.lease_storage import get_concurrency_lease_storage

    async def extend() -> None:
        storage = get_concurrency_lease_storage()
        expired = await storage.read_expired_lease_ids(limit=_MAX_LEASES)
        for lease_id in (*await storage.read_active_lease_ids(limit=_MAX_LEASES), *expired):
            await storage.renew_lease(lease_id, _LEASE_GRACE)

    asyncio.run(extend())


def note_automations_without_waiting() -> None:
    """Let the event loop live when an automation changes while the server compares its own list.

    On SQLite, Prefect 3.7.7 blocks the loop after the commit until another thread has the lock of
    that list; if a coroutine of the loop holds it, the server never responds again
    (github.com/PrefectHQ/prefect/issues/23055). Here the loop itself notes the change, soon.
    """
    from prefect.server.events.models import automations

    pending = set[asyncio.Task[None]]()

    def note_soon(change: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(change)
        pending.add(task)  # the loop itself keeps no reference
        task.add_done_callback(pending.discard)

    vars(automations)["run_coro_as_sync"] = note_soon


def _run_or_end(api_url: str, history: Path, start_lock: int) -> None:
    """Publish and watch; a server whose users nobody watches would never end, so it ends now."""
    try:
        _publish_and_watch(api_url, history, start_lock)
    except BaseException:
        os.kill(os.getpid(), signal.SIGTERM)
        raise


def _publish_and_watch(api_url: str, history: Path, start_lock: int) -> None:
    """Publish the address once the server responds, then watch its users and runs."""
    while not is_healthy(api_url):
        time.sleep(_POLL_SECONDS)
    # Others may use an external database: there, runs that name no process are not Waver's.
    is_alone = not os.environ.get("PREFECT_API_DATABASE_CONNECTION_URL")
    with api_client(api_url) as client:
        is_prepared = _close_dead_runs(client, is_new_server=is_alone, needs_automation=True)
        with atomic_file(address_file(history)) as temporary:
            temporary.write_text(json.dumps({"api_url": api_url, "process_id": os.getpid()}))
        os.close(start_lock)
        _watch(client, history, is_prepared=is_prepared)


def _watch(client: httpx.Client, history: Path, *, is_prepared: bool) -> None:
    unused_since: float | None = None
    next_check = time.monotonic() + _DEAD_RUN_SECONDS
    while True:
        now = time.monotonic()
        if locks.has_users(history):
            unused_since = None
        else:
            unused_since = unused_since or now
            if now - unused_since >= _UNUSED_SECONDS and _end_if_unused(history):
                return
        if now >= next_check:
            # Not as on a new server: since then, runs that name no process may have started.
            is_prepared |= _close_dead_runs(client, needs_automation=not is_prepared)
            next_check = time.monotonic() + _DEAD_RUN_SECONDS
        time.sleep(_POLL_SECONDS)


def _close_dead_runs(
    client: httpx.Client, *, is_new_server: bool = False, needs_automation: bool
) -> bool:
    """Close dead runs, and create the automation; returns False if the server is too busy."""
    try:
        close_dead_runs(client, is_new_server=is_new_server)
        if needs_automation:
            ensure_crash_automation(client)
    except httpx.HTTPError as error:
        sys.stderr.write(f"dead runs were not closed: {error!r}\n")
        return False
    return True


_HELD: list[IO[str]] = []  # locks that are held to the end of the process


def _end_if_unused(history: Path) -> bool:
    """Begin to end, holding both locks to the last: whoever comes now starts another server."""
    start = locks.lock(history / locks.START)
    if start is None:
        return False  # somebody is joining
    users = locks.lock(history / locks.USERS)
    if users is None:
        start.close()
        return False
    _HELD.extend((start, users))
    address_file(history).unlink(missing_ok=True)
    os.kill(os.getpid(), signal.SIGTERM)
    return True


if __name__ == "__main__":
    main()
