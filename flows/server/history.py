"""The history of a local server, kept honest: runs whose process died are not left Running."""

import time
from typing import Any

import httpx

_PATIENCE_SECONDS = 60.0

_UNFINISHED = ["RUNNING", "PENDING", "CANCELLING"]
_MESSAGE = "Its process ended without a word: it was killed, or the machine stopped."


def close_dead_runs(api_url: str) -> int:
    """Mark flow and task runs that a killed process left unfinished as Crashed; returns how many.

    Only for a server that has just been started on its history: no run can be going on then.
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
    """List the unfinished runs of a kind; the server gives them in pages of its own length.

    All pages are read before any run is changed: a closed one would shift the pages after it.
    """
    ids: list[str] = []
    expected = {"state": {"type": {"any_": _UNFINISHED}}}
    while True:
        rows = post(client, f"/{kind}/filter", {kind: expected, "offset": len(ids)})
        page = [str(row["id"]) for row in rows]
        if not page:
            return ids
        ids += page


def post(client: httpx.Client, path: str, body: dict[str, Any]) -> Any:
    """Post to the server and give what it answers.

    A server whose SQLite file is locked by its own services answers 503, and is asked again, as
    Prefect's client does.
    """
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        answer = client.post(path, json=body)
        if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE or time.monotonic() > deadline:
            return answer.raise_for_status().json()
        time.sleep(0.5)
