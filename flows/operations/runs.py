"""`waver runs` and `waver retry`: the runs that a Prefect server knows, and one of them again."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
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

# Ids begin with the time when a run was created: those scheduled at once differ at the end.
_ID_DIGITS = 8
_MIN_DIGITS = 4
_SLACK = timedelta(minutes=1)  # of this computer's clock, compared with the server's
_PAGE = 200  # Prefect's limit
# Until the process of a run has ended, Prefect takes a retry for a crash; it ends within seconds.
_PROCESS_SECONDS = 15.0
_FAILED = ("FAILED", "CRASHED", "CANCELLED")
_ENDED = ("COMPLETED", *_FAILED)
_TYPES = ("SCHEDULED", "PENDING", "RUNNING", "PAUSED", "CANCELLING", *_ENDED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run of the pipeline, or of a stage's own deployment.

    ``due`` and ``started`` are in ISO 8601, UTC; ``seconds`` are those that it has worked.
    """

    run_id: str
    name: str
    deployment: str | None
    state_type: str
    state: str
    message: str
    due: str | None
    started: str | None
    seconds: float


def show_runs(limit: int, state: str | None, *, as_json: bool) -> None:
    """Print the newest runs that are due; of one state's name or type, all that are in it."""
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
    """Read the newest runs that are not part of another one.

    Runs that a schedule has yet to start, of which there are up to a hundred for each deployment,
    are left out unless their state is given: then the next ones come first.
    """
    criteria: dict[str, Any] = {"parent_task_run_id": {"is_null_": True}}
    order = "EXPECTED_START_TIME_DESC"
    if state is None:
        criteria["expected_start_time"] = {"before_": (datetime.now(UTC) + _SLACK).isoformat()}
    else:
        criteria["state"] = {
            "operator": "or_",
            "name": {"any_": [state, state.capitalize()]},
            **({"type": {"any_": [state.upper()]}} if state.upper() in _TYPES else {}),
        }
        if state.upper() == "SCHEDULED":
            order = "EXPECTED_START_TIME_ASC"
    rows: list[dict[str, Any]] = []
    while len(rows) < limit:
        body = {
            "flow_runs": criteria, "sort": order,
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
        what = run.name if run.deployment is None else f"{run.deployment}: {run.name}"
        table.add_row(
            run.run_id[-_ID_DIGITS:],
            _local_time(run.started) or f"due {_local_time(run.due)}",
            format_seconds(run.seconds) if run.started else "",
            run.state,
            f"{what}\n{run.message}" if run.message else what,
            style="yellow" if run.state_type in _FAILED else None,
        )
    return table


def _local_time(stamp: str | None) -> str:
    return datetime.fromisoformat(stamp).astimezone().strftime("%m-%d %H:%M") if stamp else ""


def _run_of(row: dict[str, Any], deployments: dict[str, str]) -> Run:
    return Run(
        run_id=row["id"],
        name=row["name"],
        deployment=deployments.get(row["deployment_id"]),
        state_type=row["state_type"],
        state=row["state_name"],
        message=row["state"].get("message") or "",
        due=row["expected_start_time"],
        started=row["start_time"],
        seconds=float(row["total_run_time"] or row["estimated_run_time"] or 0),
    )


def _deployment_names(client: httpx.Client, ids: set[str]) -> dict[str, str]:
    if not ids:
        return {}
    body = {"deployments": {"id": {"any_": sorted(ids)}}}
    return {row["id"]: row["name"] for row in post(client, "/deployments/filter", body)}


def _find(client: httpx.Client, name: str) -> dict[str, Any]:
    """Find a run by its id, the beginning or end of that, or its name; of several names the newest.

    Raises:
        ConfigError: there is none, or a part of an id is that of several.
    """
    found: dict[str, dict[str, Any]] = {}
    offset = 0
    while rows := post(client, "/flow_runs/filter", _page_of_all(offset)):
        for row in rows:
            if name in (row["name"], row["id"]):
                return dict(row)
            if len(name) >= _MIN_DIGITS and (
                row["id"].startswith(name) or row["id"].endswith(name)
            ):
                found[row["id"]] = row
        offset += len(rows)
    if len(found) > 1:
        raise ConfigError(
            f"The ids of {len(found)} runs begin or end with {name!r}: name one by its whole id, "
            "or by the end of it, as `waver runs` shows."
        )
    if not found:
        raise ConfigError(
            f"There is no run {name!r} on this server: name one of `waver runs` by its id, or set "
            "PREFECT_API_URL to its server."
        )
    return found.popitem()[1]


def _page_of_all(offset: int) -> dict[str, Any]:
    return {
        "flow_runs": {"parent_task_run_id": {"is_null_": True}},
        "sort": "EXPECTED_START_TIME_DESC", "limit": _PAGE, "offset": offset,
    }  # fmt: skip


def _schedule_again(client: httpx.Client, row: dict[str, Any]) -> None:
    """Let a worker take the run once more, as the UI's Retry does."""
    if row["end_time"]:
        ended = (datetime.now(UTC) - datetime.fromisoformat(row["end_time"])).total_seconds()
        time.sleep(min(max(_PROCESS_SECONDS - ended, 0.0), _PROCESS_SECONDS))
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
