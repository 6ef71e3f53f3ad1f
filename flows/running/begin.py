"""What every run of a flow does first: it records its process and checks its server.

Prefect calls `begin_run` when a flow run becomes Running (`@flow(on_running=[begin_run])`).
"""

import os
from typing import Any

import httpx
from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State
from prefect.logging.loggers import flow_run_logger
from prefect.settings import PREFECT_API_URL

from flows.server.connection import api_client
from flows.server.environment import LEASE_STORAGE, LEASES_ON_DISK
from flows.server.history import close_dead_runs
from flows.server.liveness import PROCESS_LABEL, STATE_LABEL, this_process

_IN_MEMORY = "prefect.server.concurrency.lease_storage.memory"


def begin_run(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Record the process of a run, so that the run becomes Crashed soon after it has died.

    A run that a schedule or a person has started on a server also closes the runs that died on
    this computer, and warns if the server loses its leases when it restarts.
    """
    api_url = PREFECT_API_URL.value() or os.environ.get("PREFECT_API_URL")
    if flow_run.parent_task_run_id is not None or not api_url:
        return
    with api_client(api_url) as client:
        labels = {PROCESS_LABEL: this_process(), STATE_LABEL: str(state.id)}
        client.patch(f"/flow_runs/{flow_run.id}/labels", json=labels)
        if flow_run.deployment_id is None:
            return
        if warning := lease_warning(client):
            flow_run_logger(flow_run, flow).warning(warning)
        close_dead_runs(client)


def lease_warning(client: httpx.Client) -> str | None:
    """Return what is wrong with the server's lease storage, if anything."""
    settings = client.get("/admin/settings").raise_for_status().json()
    storage = settings["server"]["concurrency"]["lease_storage"]
    if storage != _IN_MEMORY:
        return None
    return (
        f"The Prefect server keeps leases in memory ({storage!r}): after its restart or a power "
        "cut the deployments' limits block every later run. Start it with `waver serve`, or set "
        f"{LEASE_STORAGE}={LEASES_ON_DISK} for the server, and restart it."
    )
