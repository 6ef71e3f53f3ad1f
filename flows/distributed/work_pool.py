"""Shares of a stage on the machines of a Prefect work pool: submitted, found, watched, cancelled.

Each machine runs a worker of the pool, which takes a share when it is free. A run whose worker has
not been heard of for minutes is taken for dead.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun, StateType, Worker, WorkerStatus
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound, PrefectException, PrefectHTTPStatusError
from prefect.states import Cancelling, Crashed

from flows.distributed.server_retry import Patience, is_outage
from storage.errors import ConfigError, StageError, WaverError
from tasks.log import LOGGER
from tasks.processes.group import is_stopped_within

DEPLOYMENT = "infer-share/infer-share"
_DEPLOY = "prefect --no-prompt deploy --prefect-file infra/prefect.yaml --all"
_WORKER = "prefect.worker.name"
_LOOK_SECONDS = 2.0
_SAID = "Flow run encountered an exception: "
_GONE = "the worker is not heard of any more: its machine stopped"
_STOPPED = "The run was stopped, and its shares with it: run again to go on."
_STOPPED_ALONE = (
    "The run was stopped, but not all of its shares could be, and those go on: run again to wait "
    "for them."
)
_SILENT_SECONDS = 60.0  # beside the 90 s after which Prefect calls a worker offline
_WARN_SECONDS = 600.0
_OPEN = (
    StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.PAUSED,
    StateType.CANCELLING,
)  # fmt: skip


def infer_work_pool() -> str:
    """Name the work pool whose workers take shares.

    Raises:
        ConfigError: the Prefect server knows no deployment that makes a share a run.
    """
    with get_client(sync_client=True) as client:
        try:
            pool = client.read_deployment_by_name(DEPLOYMENT).work_pool_name
        except ObjectNotFound:
            pool = None
    if pool is None:
        raise ConfigError(
            f"Inference on several machines needs the deployment {DEPLOYMENT!r}, which the Prefect "
            "server of this run does not have: set PREFECT_API_URL to the server that the machines "
            f"work for and make it there with `{_DEPLOY}` (README: Several machines), or leave out "
            "resources.infer.num_nodes."
        )
    return pool


def submit(name: str, parameters: Mapping[str, Any], tag: str) -> FlowRun:
    """Leave a share to whichever worker is free, shown in the UI beneath this run.

    Raises:
        ConfigError: the deployment is of another version.
        HTTPError: the server is in trouble.
    """
    try:
        run = run_deployment(
            DEPLOYMENT, parameters=dict(parameters), flow_run_name=name, tags=[tag], timeout=0
        )
    except PrefectHTTPStatusError as error:  # it holds parameters to the form that was deployed
        if is_outage(error):
            raise
        raise ConfigError(
            f"The Prefect server does not take a share for {DEPLOYMENT!r} (status "
            f"{error.response.status_code}), which another version of Waver made: make it again "
            f"with `{_DEPLOY}`."
        ) from error
    return cast(FlowRun, run)  # a coroutine only where an event loop runs


def submit_all(shares: Mapping[str, Mapping[str, Any]], tag: str) -> list[FlowRun]:
    """Leave all shares, parameters by name, to whichever workers are free.

    Raises:
        ConfigError: the deployment is of another version.
        StageError: the server failed; the shares that it took go on.
    """
    runs: list[FlowRun] = []
    for name, parameters in shares.items():
        try:
            runs.append(submit(name, parameters, tag))
        except (httpx.HTTPError, PrefectException, ConfigError) as error:
            if isinstance(error, ConfigError) and not runs:
                raise
            why = str(error) if isinstance(error, WaverError) else type(error).__name__
            raise StageError(
                f"The Prefect server failed when it had taken {len(runs)} of {len(shares)} shares "
                f"of the inference ({why.rstrip('.')}). Those that it took go on: run again to "
                "wait for them and to deal the rest."
            ) from error
    return runs


def unfinished(tag: str) -> list[FlowRun]:
    """Find the shares that wait or run already, of whichever run."""
    expected = FlowRunFilter.model_validate(
        {"tags": {"all_": [tag]}, "state": {"type": {"any_": list(_OPEN)}}}
    )
    with get_client(sync_client=True) as client:
        return client.read_flow_runs(flow_run_filter=expected)


def wait_for(
    pool: str, runs: Iterable[FlowRun], on_look: Callable[[Sequence[FlowRun]], None]
) -> list[FlowRun]:
    """Wait until all runs have ended, well or not; ``on_look`` sees them every two seconds.

    Raises:
        StageError: the run that waits was stopped, and its shares are cancelled; or the server has
            not answered for minutes, and they go on.
    """
    left = list(runs)
    expected = FlowRunFilter.model_validate({"id": {"any_": [run.id for run in left]}})
    watch, patience = _WorkerWatch(pool), Patience()
    with get_client(sync_client=True) as client:
        while True:
            try:
                seen = client.read_flow_runs(flow_run_filter=expected)
                left = [run for run in seen if not has_ended(run)]
                if left:
                    watch.look(client, left)
            except httpx.HTTPError as error:
                patience.bear(error)
                watch.reset_grace()
            else:
                patience.renew()
                on_look(seen)
                if not left:
                    return seen
            if is_stopped_within(_LOOK_SECONDS):
                raise StageError(_STOPPED if _cancel(client, left) else _STOPPED_ALONE)


def has_ended(run: FlowRun) -> bool:
    """Say whether a run is over, well or not."""
    return run.state is not None and run.state.is_final()


def is_running(run: FlowRun) -> bool:
    """Say whether a worker has taken a run and begun it."""
    return run.state is not None and run.state.is_running()


def worker_of(run: FlowRun) -> str | None:
    """Name the worker that took a run."""
    name = run.labels.get(_WORKER)
    return None if name is None else str(name)


def why_ended(run: FlowRun) -> str:
    """Say how a run ended that did not end well: which, on what worker, and its own words."""
    state, message = "unknown", None
    if run.state is not None:
        state, message = str(run.state.name).lower(), run.state.message
    words = (message or "without a word").removeprefix(_SAID)
    return f"{run.name} on worker {worker_of(run)!r} is {state} ({words})"


def pause(seconds: float) -> None:
    """Wait; raises StageError if the run is stopped meanwhile."""
    if is_stopped_within(seconds):
        raise StageError(_STOPPED)


def _cancel(client: SyncPrefectClient, runs: Iterable[FlowRun]) -> bool:
    """Cancel runs, and say whether all are; a server in trouble is not asked about the others."""
    are_cancelled = True
    for run in runs:
        try:
            client.set_flow_run_state(run.id, Cancelling())
        except (httpx.HTTPError, PrefectException) as error:
            LOGGER.warning("%s could not be cancelled (%s)", run.name, type(error).__name__)
            are_cancelled = False
            if is_outage(error):
                break
    return are_cancelled


class _WorkerWatch:
    """Tells if no worker takes shares, and ends those whose worker is gone for good."""

    def __init__(self, pool: str) -> None:
        self._pool = pool
        self._due = 0.0
        self._silent_since: dict[UUID, float] = {}

    def look(self, client: SyncPrefectClient, runs: Sequence[FlowRun]) -> None:
        workers = client.read_workers_for_work_pool(self._pool)
        online = {worker.name for worker in workers if _is_online(worker)}
        self._warn_without(online)
        now = time.monotonic()
        for run in runs:
            worker = worker_of(run)
            if worker is None or worker in online:
                self._silent_since.pop(run.id, None)
            elif now - self._silent_since.setdefault(run.id, now) > _SILENT_SECONDS:
                client.set_flow_run_state(run.id, Crashed(message=_GONE), force=True)

    def reset_grace(self) -> None:
        """Give workers time to be heard of by a server that was out."""
        self._silent_since.clear()
        self._due = max(self._due, time.monotonic() + _SILENT_SECONDS)

    def _warn_without(self, online: set[str]) -> None:
        if online or time.monotonic() < self._due:
            return
        self._due = time.monotonic() + _WARN_SECONDS
        LOGGER.warning(
            "infer: no worker takes shares yet: on each machine start one with `prefect worker "
            "start --pool %s --limit 1`",
            self._pool,
        )


def _is_online(worker: Worker) -> bool:
    return worker.status == WorkerStatus.ONLINE
