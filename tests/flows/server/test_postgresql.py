"""A real PostgreSQL behind the server: a schedule fires there, and its run completes."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from flows.server.environment import prepare_environment
from flows.server.history import post
from flows.server.local_server import prefect_server
from tests.postgresql import postgresql

pytestmark = pytest.mark.operations

HOME = Path(__file__).parents[3]
POOL = "waver-cpu"
SOON = timedelta(seconds=5)


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    """A client of a server whose history is in PostgreSQL, not in its own folder."""
    history = tmp_path / "prefect home"
    with postgresql() as url:
        monkeypatch.setenv("PREFECT_HOME", str(history))
        monkeypatch.setenv("PREFECT_API_DATABASE_CONNECTION_URL", url)
        monkeypatch.delenv("PREFECT_API_URL", raising=False)
        prepare_environment(history)
        with prefect_server() as api_url, httpx.Client(base_url=api_url, timeout=60) as client:
            monkeypatch.setenv("PREFECT_API_URL", api_url)
            yield client
        assert not (history / "prefect.db").exists()


def deploy(api: httpx.Client, request: dict[str, Any]) -> str:
    """Schedule the pipeline once, seconds from now; returns the deployment's id."""
    post(api, "/work_pools/", {"name": POOL, "type": "process"})
    flow = post(api, "/flows/", {"name": "waver"})
    schedule = {"interval": 86_400, "anchor_date": (datetime.now(UTC) + SOON).isoformat()}
    deployment = {
        "name": "nightly",
        "flow_id": flow["id"],
        "work_pool_name": POOL,
        "entrypoint": "flows.pipeline.pipeline",
        "pull_steps": [
            {"prefect.deployments.steps.set_working_directory": {"directory": str(HOME)}}
        ],
        "parameters": {"request": request},
        "schedules": [{"schedule": schedule, "active": True}],
    }
    return str(post(api, "/deployments/", deployment)["id"])


@contextmanager
def worker() -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--type", "process"],
        stdin=subprocess.DEVNULL, cwd=HOME, env=os.environ | {"PYTHONPATH": str(HOME)},
    )  # fmt: skip
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=60)


def test_with_postgresql_a_schedule_fires_and_its_run_completes(
    api: httpx.Client, tmp_path: Path, video: Callable[[str], Path]
) -> None:
    (tmp_path / "data").mkdir()
    shutil.copy(video("very-short.mp4"), tmp_path / "data")
    deployment_id = deploy(
        api,
        {"data": str(tmp_path / "data"), "store": str(tmp_path / "store"), "only": ["segment"]},
    )
    first = {"flow_runs": {"deployment_id": {"any_": [deployment_id]}},
             "sort": "EXPECTED_START_TIME_ASC", "limit": 1}  # fmt: skip
    deadline, state = time.monotonic() + 200, "NONE"
    with worker():
        while state in ("NONE", "SCHEDULED", "PENDING", "RUNNING"):
            assert time.monotonic() < deadline, state
            time.sleep(1)
            runs = post(api, "/flow_runs/filter", first)
            state = runs[0]["state"]["type"] if runs else "NONE"
    assert state == "COMPLETED"
    assert runs[0]["auto_scheduled"]
    assert list((tmp_path / "store" / "segment").rglob("*.parquet"))
    logs = post(api, "/logs/filter", {})
    assert any("segment" in row["message"] for row in logs), "the run's log is in the database"
