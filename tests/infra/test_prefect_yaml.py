"""Every deployment is accepted by a real server, and one of them runs in a real worker."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from flows.context.stage_names import STAGES
from flows.server.local_server import prefect_server

pytestmark = pytest.mark.slow

HOME = Path(__file__).parents[2]
ALONE = {"waver/nightly", *(f"{stage}/{stage}" for stage in STAGES)}


@pytest.fixture(scope="module")
def deployed(new_history: Callable[[pytest.MonkeyPatch], Path]) -> Iterator[dict[str, str]]:
    """A server with its pool and all deployments; yields the environment of Prefect's commands."""
    with pytest.MonkeyPatch.context() as patch:
        new_history(patch)
        patch.delenv("PREFECT_LOGGING_EXTRA_LOGGERS", raising=False)
        with prefect_server() as api_url:
            environment = {
                **os.environ,
                "PREFECT_API_URL": api_url,
                "WAVER_HOME": str(HOME),
                "WAVER_DATA": "/data/of/ours",
                "WAVER_STORE": "/store/of/ours",
            }
            prefect(environment, "work-pool", "create", "waver", "--type", "process")
            prefect(
                environment,
                "--no-prompt",
                "deploy",
                "--prefect-file",
                "infra/prefect.yaml",
                "--all",
            )
            yield environment


def prefect(environment: dict[str, str], *arguments: str, folder: Path = HOME) -> str:
    ended = subprocess.run(
        [sys.executable, "-m", "prefect", *arguments],
        env=environment, cwd=folder, timeout=200, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


def rows(environment: dict[str, str], kind: str) -> list[dict[str, Any]]:
    answer = httpx.post(f"{environment['PREFECT_API_URL']}/{kind}/filter", json={}, timeout=60)
    return list(answer.raise_for_status().json())


def test_every_entry_is_deployed_with_its_folder_parameters_and_log(
    deployed: dict[str, str],
) -> None:
    flows = {row["id"]: row["name"] for row in rows(deployed, "flows")}
    deployments = {
        f"{flows[row['flow_id']]}/{row['name']}": row for row in rows(deployed, "deployments")
    }
    entries = yaml.safe_load((HOME / "infra" / "prefect.yaml").read_text())["deployments"]
    assert set(deployments) == ALONE
    assert len(entries) == len(deployments)
    for row in deployments.values():
        (step,) = row["pull_steps"]
        assert list(step.values()) == [{"directory": str(HOME)}]
        assert row["job_variables"]["env"]["PREFECT_LOGGING_EXTRA_LOGGERS"] == "waver"
        assert row["work_pool_name"] == "waver"
        assert row["parameters"]["request"]["data"] == "/data/of/ours"
        assert row["parameters"]["request"]["store"] == "/store/of/ours"
        assert row["global_concurrency_limit"]["limit"] == 1
    assert [s["schedule"]["cron"] for s in deployments["waver/nightly"]["schedules"]] == [
        "0 2 * * *"
    ]


def test_a_deployment_runs_in_a_worker_and_shows_its_log(
    deployed: dict[str, str], tmp_path: Path, video: Callable[[str], Path]
) -> None:
    (tmp_path / "data").mkdir()
    shutil.copy(video("very-short.mp4"), tmp_path / "data")
    request = {
        "data": str(tmp_path / "data"), "store": str(tmp_path / "store"), "only": ["segment"],
    }  # fmt: skip
    parameter = f"request={json.dumps(request)}"
    prefect(deployed, "deployment", "run", "waver/nightly", "--param", parameter)
    output = prefect(deployed, "worker", "start", "--pool", "waver", "--run-once", folder=tmp_path)
    runs = {row["name"]: row["state"]["type"] for row in rows(deployed, "flow_runs")
            if row["state"]["type"] != "SCHEDULED"}  # fmt: skip
    assert set(runs.values()) == {"COMPLETED"}, output
    assert "segment" in runs
    assert any("1 computed" in row["message"] for row in rows(deployed, "logs")), output
    assert list((tmp_path / "store" / "segment").rglob("*.parquet"))
