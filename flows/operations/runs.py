"""`waver runs` and `waver retry`: the runs that a Prefect server knows, and one of them again."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from flows.commands.exit_status import ExitStatus
from flows.commands.run import run_and_show
from flows.context.request import RunRequest
from flows.planning.units import format_seconds
from flows.server.connection import api_client, post
from flows.server.local_server import prefect_server
from storage.errors import ConfigError
from storage.schema import to_plain
from tasks.terminal import titled_table

_ID_DIGITS = 8  # shown; a command takes any beginning of an id that names one run
_PAGE = 200  # Prefect's limit
_FAILED = ("FAILED", "CRASHED", "CANCELLED")
_ENDED = ("COMPLETED", *_FAILED)
_TYPES = ("SCHEDULED", "PENDING", "RUNNING", "PAUSED", "CANCELLING", *_ENDED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run of the pipeline, or of a stage's own deployment.

    ``started`` is in ISO 8601, UTC; ``seconds`` are those that it has worked.
    """

    run_id: str
    name: str
    deployment: str | None
    state_type: str
    state: str
    message: str
    started: str | None
    seconds: float


def show_runs(limit: int, state: str | None, *, as_json: bool) -> None:
    """Print the newest runs, those of one state's name or type alone if it is given."""
    with prefect_server() as api_url, api_client(api_url) as client:
        runs = read_runs(client, limit, state)
    if as_json:
        print(json.dumps(to_plain(tuple(runs)), indent=2))  # noqa: T201 - the document itself
        return
    console = Console()
    if not runs:
        console.print("No run is recorded." if state is None else f"No run is {state!r}.")
        return
    console.print(run_table(runs))
    if any(run.state_type in _FAILED for run in runs):
        console.print("To run one again: [bold]waver retry RUN[/bold]")


def retry_run(name: str) -> ExitStatus:
    """Run again what a run left: on its deployment's workers, or here if it ran here.

    Raises:
        ConfigError: there is no such run, it has not ended, or its request is not stored.
    """
    with prefect_server() as api_url, api_client(api_url) as client:
        row = _find(client, name)
        if row["state_type"] not in _ENDED:
            raise ConfigError(
                f"The run {row['name']!r} is {row['state_name']}: it can be retried once it has "
                "ended."
            )
        if row["deployment_id"]:
            _schedule_again(client, row)
            return ExitStatus.DONE
    return run_and_show(_request_of(row))


def read_runs(client: httpx.Client, limit: int, state: str | None = None) -> list[Run]:
    """Read the newest runs that are not part of another one."""
    criteria: dict[str, Any] = {"parent_task_run_id": {"is_null_": True}}
    if state is not None:
        criteria["state"] = {
            "operator": "or_",
            "name": {"any_": [state, state.capitalize()]},
            **({"type": {"any_": [state.upper()]}} if state.upper() in _TYPES else {}),
        }
    rows: list[dict[str, Any]] = []
    while len(rows) < limit:
        body = {
            "flow_runs": criteria, "sort": "EXPECTED_START_TIME_DESC",
            "limit": min(_PAGE, limit - len(rows)), "offset": len(rows),
        }  # fmt: skip
        page = post(client, "/flow_runs/filter", body)
        rows += page
        if not page:
            break
    names = _deployment_names(client, {row["deployment_id"] for row in rows} - {None})
    return [_run_of(row, names) for row in rows]


def run_table(runs: Sequence[Run]) -> Table:
    """Return a table of runs, the newest first."""
    table = titled_table("Runs")
    table.add_column("run", no_wrap=True)
    table.add_column("started", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("what, and how it ended", overflow="fold")
    for run in runs:
        started = datetime.fromisoformat(run.started).astimezone() if run.started else None
        what = run.name if run.deployment is None else f"{run.deployment}: {run.name}"
        table.add_row(
            run.run_id[:_ID_DIGITS],
            started.strftime("%m-%d %H:%M") if started else "",
            format_seconds(run.seconds) if started else "",
            run.state,
            f"{what}\n{run.message}" if run.message else what,
            style="yellow" if run.state_type in _FAILED else None,
        )
    return table


def _run_of(row: dict[str, Any], deployments: dict[str, str]) -> Run:
    return Run(
        run_id=row["id"],
        name=row["name"],
        deployment=deployments.get(row["deployment_id"]),
        state_type=row["state_type"],
        state=row["state_name"],
        message=row["state"].get("message") or "",
        started=row["start_time"],
        seconds=float(row["total_run_time"] or row["estimated_run_time"] or 0),
    )


def _deployment_names(client: httpx.Client, ids: set[str]) -> dict[str, str]:
    if not ids:
        return {}
    body = {"deployments": {"id": {"any_": sorted(ids)}}}
    return {row["id"]: row["name"] for row in post(client, "/deployments/filter", body)}


def _find(client: httpx.Client, name: str) -> dict[str, Any]:
    """Find a run by its id, a beginning of that, or its name; of several names the newest."""
    offset = 0
    while rows := post(client, "/flow_runs/filter", _page_of_all(offset)):
        for row in rows:
            if row["name"] == name or (len(name) >= 4 and row["id"].startswith(name)):
                return dict(row)
        offset += len(rows)
    raise ConfigError(
        f"There is no run {name!r} on this server: name one of `waver runs` by its id, or set "
        "PREFECT_API_URL to its server."
    )


def _page_of_all(offset: int) -> dict[str, Any]:
    return {
        "flow_runs": {"parent_task_run_id": {"is_null_": True}},
        "sort": "EXPECTED_START_TIME_DESC", "limit": _PAGE, "offset": offset,
    }  # fmt: skip


def _schedule_again(client: httpx.Client, row: dict[str, Any]) -> None:
    """Let a worker take the run once more, as the UI's Retry does."""
    state = {"type": "SCHEDULED", "name": "AwaitingRetry", "message": "Retried by `waver retry`."}
    answer = post(client, f"/flow_runs/{row['id']}/set_state", {"state": state, "force": True})
    if answer["status"] != "ACCEPT":
        raise ConfigError(
            f"The Prefect server does not retry the run {row['name']!r} "
            f"({answer['details'].get('reason') or answer['status']}): start its deployment again."
        )
    Console().print(
        f"Run {row['name']!r} waits for a worker of its pool; `waver runs` shows how it ends."
    )


def _request_of(row: dict[str, Any]) -> RunRequest:
    stored = row["parameters"].get("request")
    if isinstance(stored, dict) and not stored.get("data"):
        raise ConfigError(
            f"The run {row['name']!r} was of single videos, whose paths are not stored: start "
            "`waver predict` again, which computes what is missing."
        )
    try:
        request = RunRequest.model_validate(stored)
    except ValidationError as error:
        raise ConfigError(
            f"The run {row['name']!r} was started by another version of Waver, or is none of its "
            "pipeline: start it again by its own command."
        ) from error
    return request.model_copy(update={"continues": request.continues or str(row["id"])})
