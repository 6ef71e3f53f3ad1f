"""The history of a local server, kept honest: runs whose process died are not left Running."""

import httpx

_UNFINISHED = ["RUNNING", "PENDING", "CANCELLING"]


def close_dead_runs(api_url: str) -> int:
    """Mark flow and task runs that a killed process left unfinished as Crashed; returns how many.

    Only for a server that has just been started on its history: no run can be going on then.
    """
    message = "Its process ended without a word: it was killed, or the machine stopped."
    closed = 0
    with httpx.Client(base_url=api_url, timeout=60) as client:
        for kind in ("flow_runs", "task_runs"):
            rows = client.post(
                f"/{kind}/filter", json={kind: {"state": {"type": {"any_": _UNFINISHED}}}}
            )
            for row in rows.raise_for_status().json():
                state = {"type": "CRASHED", "name": "Crashed", "message": message}
                client.post(
                    f"/{kind}/{row['id']}/set_state", json={"state": state, "force": True}
                ).raise_for_status()
                closed += 1
    return closed
