"""Unfinished runs in a local server's history: those whose process died become Crashed."""

import time
from typing import Any

import httpx

_RETRY_SECONDS = 60.0
_UNFINISHED = ["RUNNING", "PENDING", "CANCELLING"]
_MESSAGE = "The process of this run was killed, or the computer stopped."


def close_dead_runs(api_url: str) -> int:
    """Mark unfinished flow and task runs as Crashed, and return how many there were.

    Call this only on a server that has just started, when no run can be alive.
    """
    state = {"type": "CRASHED", "name": "Crashed", "message": _MESSAGE}
    closed = 0
    with httpx.Client(base_url=api_url, timeout=60) as client:
        for kind in ("flow_runs", "task_runs"):
            for run_id in _unfinished(client, kind):
                post(client, f"/{kind}/{run_id}/set_state", {"state": state, "force": True})
                closed += 1
    return closed


def _unfinished(client: httpx.Client, kind: str) -> list[str]:
    """List the ids of all unfinished runs of a kind.

    All pages are read before any run is changed: changing one would shift the later pages.
    """
    ids: list[str] = []
    unfinished = {"state": {"type": {"any_": _UNFINISHED}}}
    while True:
        rows = post(client, f"/{kind}/filter", {kind: unfinished, "offset": len(ids)})
        page = [str(row["id"]) for row in rows]
        if not page:
            return ids
        ids += page


def post(client: httpx.Client, path: str, body: dict[str, Any]) -> Any:
    """Post to the server and return its JSON response.

    The server responds 503 while its own services lock its SQLite file; the request is then
    retried, as Prefect's client does.
    """
    deadline = time.monotonic() + _RETRY_SECONDS
    while True:
        response = client.post(path, json=body)
        if response.status_code != httpx.codes.SERVICE_UNAVAILABLE or time.monotonic() > deadline:
            return response.raise_for_status().json()
        time.sleep(0.5)
