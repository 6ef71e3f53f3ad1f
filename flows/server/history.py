"""Unfinished runs in a server's history: those whose process died become Crashed.

Prefect marks a killed run only if its worker lives, and never what ran below it.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from flows.server.connection import post
from flows.server.liveness import PROCESS_LABEL, STATE_LABEL, is_known_dead

_UNFINISHED = ["RUNNING", "PENDING", "CANCELLING"]
_ENDED = ["COMPLETED", "FAILED", "CANCELLED", "CRASHED"]
_KILLED = "The process of this run was killed, or the computer stopped."
_ORPHANED = "The run that this one was part of has ended."
# The states of task runs arrive as events, a little after their flow run's state.
SETTLED_SECONDS = 20.0


def close_dead_runs(
    client: httpx.Client, *, is_new_server: bool = False, settled_seconds: float = SETTLED_SECONDS
) -> int:
    """Mark runs whose process is gone as Crashed, and what ran below them; returns how many.

    A run on another computer is left alone: the automation decides by its heartbeats. On a server
    that has just started, runs that name no process are dead too: none of Waver's is without for
    long.
    """
    closed = 0
    for run in _unfinished(client, "flow_runs"):
        if _is_dead(run, is_new_server=is_new_server):
            closed += _crash(client, "flow_runs", run["id"], _KILLED)
    while orphans := _orphaned_flow_runs(client):
        num_closed = sum(_crash(client, "flow_runs", run_id, _ORPHANED) for run_id in orphans)
        closed += num_closed
        if not num_closed:
            break
    ended_before = datetime.now(UTC) - timedelta(seconds=0 if is_new_server else settled_seconds)
    ended = {
        "state": {"type": {"any_": _ENDED}}, "end_time": {"before_": ended_before.isoformat()},
    }  # fmt: skip
    for run in _unfinished(client, "task_runs", flow_runs=ended):
        closed += _crash(client, "task_runs", run["id"], _ORPHANED)
    return closed


def _is_dead(run: dict[str, Any], *, is_new_server: bool) -> bool:
    labels, state = run["labels"], run["state"]
    if identity := labels.get(PROCESS_LABEL):
        # A run that is retried keeps the labels of its last attempt until its new process is up.
        is_retried = state["type"] == "PENDING" or (
            state["type"] == "RUNNING" and labels.get(STATE_LABEL) != state["id"]
        )
        return not is_retried and is_known_dead(str(identity))
    may_still_start = state["type"] == "PENDING" and run["deployment_id"]
    return is_new_server and not run["parent_task_run_id"] and not may_still_start


def _orphaned_flow_runs(client: httpx.Client) -> list[str]:
    """List unfinished flow runs inside the process of a flow run that has ended."""
    inside = {
        run["parent_task_run_id"]: run["id"]
        for run in _unfinished(client, "flow_runs", parent_task_run_id={"is_null_": False})
        if not run["deployment_id"]
    }
    if not inside:
        return []
    ended = {"state": {"type": {"any_": _ENDED}}}
    parents = _all(
        client, "task_runs", {"task_runs": {"id": {"any_": [*inside]}}, "flow_runs": ended}
    )
    return [inside[row["id"]] for row in parents]


def _unfinished(
    client: httpx.Client, kind: str, *, flow_runs: Any = None, **criteria: Any
) -> list[dict[str, Any]]:
    body: dict[str, Any] = {kind: {"state": {"type": {"any_": _UNFINISHED}}, **criteria}}
    if flow_runs:
        body["flow_runs"] = flow_runs
    return list(_all(client, kind, body))


def _all(client: httpx.Client, kind: str, body: dict[str, Any]) -> Iterable[dict[str, Any]]:
    """Read all pages.

    They are read before any run is changed: changing one would shift the later pages.
    """
    rows: list[dict[str, Any]] = []
    while page := post(client, f"/{kind}/filter", {**body, "offset": len(rows)}):
        rows += page
    return rows


def _crash(client: httpx.Client, kind: str, run_id: str, message: str) -> bool:
    """Mark a run as Crashed unless it has ended in the meantime; returns whether it was."""
    state = {"type": "CRASHED", "name": "Crashed", "message": message}
    answer = post(client, f"/{kind}/{run_id}/set_state", {"state": state})
    return bool(answer["status"] == "ACCEPT")
