"""Inference partitions as flow runs of a Prefect work pool: submit, find, wait for and cancel them.

Each node runs a worker of the pool, which takes a partition when it is free. A flow run whose
worker has been offline for minutes is marked as crashed.
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

from flows.distributed.server_retry import ServerRetry, is_outage
from storage.errors import ConfigError, StageError, WaverError
from tasks.log import LOGGER
from tasks.processes.group import is_stopped_within

DEPLOYMENT = "infer-partition/infer-partition"
_DEPLOY = "prefect --no-prompt deploy --prefect-file infra/prefect.yaml --all"
_WORKER_LABEL = "prefect.worker.name"
_POLL_SECONDS = 2.0
_PREFECT_PREFIX = "Flow run encountered an exception: "
_WORKER_LOST = "the worker went offline: its node stopped"
_STOPPED = "The run was stopped, and its partitions were canceled: run again to continue."
_STOPPED_ALONE = (
    "The run was stopped, but some of its partitions could not be canceled and keep running: run "
    "again to wait for them."
)
_OFFLINE_SECONDS = 60.0  # after the 90 s after which Prefect calls a worker offline
_WARN_SECONDS = 600.0
_NOT_ENDED = (
    StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.PAUSED,
    StateType.CANCELLING,
)  # fmt: skip


def infer_work_pool() -> str:
    """Return the name of the work pool whose workers run partitions.

    Raises:
        ConfigError: the Prefect server lacks the deployment of partitions.
    """
    with get_client(sync_client=True) as client:
        try:
            pool = client.read_deployment_by_name(DEPLOYMENT).work_pool_name
        except ObjectNotFound:
            pool = None
    if pool is None:
        raise ConfigError(
            f"Inference on several nodes needs the deployment {DEPLOYMENT!r}, which the Prefect "
            "server of this run does not have: set PREFECT_API_URL to the server that the nodes' "
            f"workers use and create it there with `{_DEPLOY}` (infra/README.md), or leave out "
            "resources.infer.num_nodes."
        )
    return pool


def submit(name: str, parameters: Mapping[str, Any], tag: str) -> FlowRun:
    """Create the flow run of one partition, shown in the UI below this run.

    Raises:
        ConfigError: the deployment was created by another version.
        HTTPError: the server failed.
    """
    try:
        run = run_deployment(
            DEPLOYMENT, parameters=dict(parameters), flow_run_name=name, tags=[tag], timeout=0
        )
    except PrefectHTTPStatusError as error:  # it validates parameters by the deployed schema
        if is_outage(error):
            raise
        raise ConfigError(
            f"The Prefect server rejects a partition for {DEPLOYMENT!r} (status "
            f"{error.response.status_code}), which another version of Waver created: create it "
            f"again with `{_DEPLOY}`."
        ) from error
    return cast(FlowRun, run)  # a coroutine only where an event loop runs


def submit_all(partitions: Mapping[str, Mapping[str, Any]], tag: str) -> list[FlowRun]:
    """Create the flow runs of all partitions, given as parameters by name.

    Raises:
        ConfigError: the deployment was created by another version.
        StageError: the server failed; the partitions that it accepted keep running.
    """
    runs: list[FlowRun] = []
    for name, parameters in partitions.items():
        try:
            runs.append(submit(name, parameters, tag))
        except (httpx.HTTPError, PrefectException, ConfigError) as error:
            if isinstance(error, ConfigError) and not runs:
                raise
            why = str(error) if isinstance(error, WaverError) else type(error).__name__
            raise StageError(
                f"The Prefect server failed after it had accepted {len(runs)} of {len(partitions)} "
                f"inference partitions ({why.rstrip('.')}). Those keep running: run again to wait "
                "for them and to submit the rest."
            ) from error
    return runs


def unfinished(tag: str) -> list[FlowRun]:
    """Find the partitions of any run that have not ended."""
    query = FlowRunFilter.model_validate(
        {"tags": {"all_": [tag]}, "state": {"type": {"any_": list(_NOT_ENDED)}}}
    )
    with get_client(sync_client=True) as client:
        return client.read_flow_runs(flow_run_filter=query)


def wait_for(
    pool: str, runs: Iterable[FlowRun], on_poll: Callable[[Sequence[FlowRun]], None]
) -> list[FlowRun]:
    """Wait until all flow runs have ended in any state; ``on_poll`` gets them every two seconds.

    Raises:
        StageError: the waiting run was stopped, and its partitions are canceled; or the server has
            been unreachable for minutes, and they keep running.
    """
    left = list(runs)
    query = FlowRunFilter.model_validate({"id": {"any_": [run.id for run in left]}})
    workers, retry = _WorkerMonitor(pool), ServerRetry()
    with get_client(sync_client=True) as client:
        while True:
            try:
                seen = client.read_flow_runs(flow_run_filter=query)
                left = [run for run in seen if not has_ended(run)]
                if left:
                    workers.check(client, left)
            except httpx.HTTPError as error:
                retry.tolerate(error)
                workers.restart_grace()
            else:
                retry.reset()
                on_poll(seen)
                if not left:
                    return seen
            if is_stopped_within(_POLL_SECONDS):
                raise StageError(_STOPPED if _cancel(client, left) else _STOPPED_ALONE)


def has_ended(run: FlowRun) -> bool:
    """Return whether a flow run has ended, in any state."""
    return run.state is not None and run.state.is_final()


def is_running(run: FlowRun) -> bool:
    """Return whether a worker runs a flow run."""
    return run.state is not None and run.state.is_running()


def worker_of(run: FlowRun) -> str | None:
    """Return the name of the worker that took a flow run."""
    name = run.labels.get(_WORKER_LABEL)
    return None if name is None else str(name)


def why_ended(run: FlowRun) -> str:
    """Describe how a flow run failed: its name, worker, state and error."""
    state, message = "unknown", None
    if run.state is not None:
        state, message = str(run.state.name).lower(), run.state.message
    reason = (message or "no message").removeprefix(_PREFECT_PREFIX)
    return f"{run.name} on worker {worker_of(run)!r} is {state} ({reason})"


def pause(seconds: float) -> None:
    """Wait for some seconds; raise StageError if the run is stopped."""
    if is_stopped_within(seconds):
        raise StageError(_STOPPED)


def _cancel(client: SyncPrefectClient, runs: Iterable[FlowRun]) -> bool:
    """Cancel flow runs and return whether all were; an outage ends the attempt."""
    all_canceled = True
    for run in runs:
        try:
            client.set_flow_run_state(run.id, Cancelling())
        except (httpx.HTTPError, PrefectException) as error:
            LOGGER.warning("%s could not be canceled (%s)", run.name, type(error).__name__)
            all_canceled = False
            if is_outage(error):
                break
    return all_canceled


class _WorkerMonitor:
    """Warns if no worker is online, and marks flow runs as crashed whose worker went offline."""

    def __init__(self, pool: str) -> None:
        self._pool = pool
        self._due = 0.0
        self._offline_since: dict[UUID, float] = {}

    def check(self, client: SyncPrefectClient, runs: Sequence[FlowRun]) -> None:
        workers = client.read_workers_for_work_pool(self._pool)
        online = {worker.name for worker in workers if _is_online(worker)}
        self._warn_without(online)
        now = time.monotonic()
        for run in runs:
            worker = worker_of(run)
            if worker is None or worker in online:
                self._offline_since.pop(run.id, None)
            elif now - self._offline_since.setdefault(run.id, now) > _OFFLINE_SECONDS:
                client.set_flow_run_state(run.id, Crashed(message=_WORKER_LOST), force=True)

    def restart_grace(self) -> None:
        """Allow workers some time to reach the server again after its outage."""
        self._offline_since.clear()
        self._due = max(self._due, time.monotonic() + _OFFLINE_SECONDS)

    def _warn_without(self, online: set[str]) -> None:
        if online or time.monotonic() < self._due:
            return
        self._due = time.monotonic() + _WARN_SECONDS
        LOGGER.warning(
            "infer: no worker is online: start one on each node with `prefect worker start "
            "--pool %s --limit 1`",
            self._pool,
        )


def _is_online(worker: Worker) -> bool:
    return worker.status == WorkerStatus.ONLINE
