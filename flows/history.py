"""The history of a local server, kept honest: runs whose process died are not left Running."""

import httpx

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
                answer = client.post(
                    f"/{kind}/{run_id}/set_state", json={"state": state, "force": True}
                )
                answer.raise_for_status()
                closed += 1
    return closed


def _unfinished(client: httpx.Client, kind: str) -> list[str]:
    """List the unfinished runs of a kind; the server gives them in pages of its own length.

    All pages are read before any run is changed: a closed one would shift the pages after it.
    """
    ids: list[str] = []
    wanted = {"state": {"type": {"any_": _UNFINISHED}}}
    while True:
        answer = client.post(f"/{kind}/filter", json={kind: wanted, "offset": len(ids)})
        page = [str(row["id"]) for row in answer.raise_for_status().json()]
        if not page:
            return ids
        ids += page
