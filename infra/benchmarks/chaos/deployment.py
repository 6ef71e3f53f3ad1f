"""A deployment of the pipeline on the shared Prefect server, and runs of it in a worker."""

import contextlib
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectAlreadyExists
from prefect.workers.process import ProcessWorker

_ROOT = Path(__file__).parents[3]
_POOL = "chaos"


def deploy() -> UUID:
    """Create the work pool and the deployment; returns the deployment's id."""
    template = ProcessWorker.get_default_base_job_template()
    with get_client(sync_client=True) as client:
        with contextlib.suppress(ObjectAlreadyExists):
            client.create_work_pool(
                WorkPoolCreate(name=_POOL, type="process", base_job_template=template)
            )
        return client.create_deployment(
            flow_id=client.create_flow_from_name("waver"),
            name="chaos",
            entrypoint="flows.pipeline.pipeline",
            pull_steps=[
                {"prefect.deployments.steps.set_working_directory": {"directory": str(_ROOT)}}
            ],
            work_pool_name=_POOL,
        )


def start_worker(environment: dict[str, str], output: Path) -> "subprocess.Popen[bytes]":
    """Start Waver's worker, which looks for runs every second and ends with this process."""
    environment |= {"PREFECT_WORKER_QUERY_SECONDS": "1"}
    with output.open("ab") as stream:
        return subprocess.Popen(
            [sys.executable, "-m", "flows.server.worker", _POOL],
            cwd=_ROOT, env=environment, stdin=subprocess.PIPE, stdout=stream,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip


def start_run(deployment_id: UUID, request: dict[str, Any]) -> UUID:
    """Create a run of the deployment; returns the run's id."""
    with get_client(sync_client=True) as client:
        run = client.create_flow_run_from_deployment(deployment_id, parameters={"request": request})
    return run.id


def read_run(run_id: UUID) -> FlowRun:
    """Read a run with its state."""
    with get_client(sync_client=True) as client:
        return client.read_flow_run(run_id)


def running_names() -> list[str]:
    """List the names of the flow runs that the Prefect server shows as running."""
    running = FlowRunFilterStateType(any_=[StateType.RUNNING])
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=running))
        )
    return [run.name for run in runs]
