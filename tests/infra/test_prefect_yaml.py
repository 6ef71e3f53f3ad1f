"""Every deployment is accepted by a real server, and one of them runs in a real worker."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Completed, Failed, Running

from flows.context.context import open_context
from flows.context.models import resolve_models
from flows.context.request import STAGES
from flows.context.rows import read_manifest
from flows.distributed import work_pool
from flows.distributed.partitions import Partition, infer_partition_flow
from flows.server.local_server import prefect_server
from storage.errors import ConfigError, StageError
from storage.fingerprint import digest_of
from tasks.inference.samples import expected_items
from tasks.processes.group import allow_children, stop_children
from tests.flows.toys import finish, request_of, write_release

pytestmark = pytest.mark.slow

HOME = Path(__file__).parents[2]
PARTITION = "infer-partition/infer-partition"
ALONE = {"waver/nightly", *(f"{stage}/{stage}" for stage in STAGES)}


@pytest.fixture(scope="module")
def deployed(new_history: Callable[[pytest.MonkeyPatch], Path]) -> Iterator[dict[str, str]]:
    """A server with pools and all deployments; yields the environment of Prefect's commands."""
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
            with (
                temporary_settings({PREFECT_API_URL: api_url}),
                pytest.raises(ConfigError, match=r"PREFECT_API_URL .* infra/prefect\.yaml --all"),
            ):
                work_pool.infer_work_pool()
            prefect(environment, "work-pool", "create", "waver", "--type", "process")
            (pool,) = rows(environment, "work_pools")
            twin = {key: pool[key] for key in ("type", "base_job_template")}
            httpx.post(f"{api_url}/work_pools/", json={"name": "waver-infer", **twin}, timeout=60)
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
    assert set(deployments) == {*ALONE, PARTITION}
    assert len(entries) == len(deployments)
    for row in deployments.values():
        (step,) = row["pull_steps"]
        assert list(step.values()) == [{"directory": str(HOME)}]
        assert row["job_variables"]["env"]["PREFECT_LOGGING_EXTRA_LOGGERS"] == "waver"
    partition = deployments.pop(PARTITION)
    assert partition["work_pool_name"] == "waver-infer"
    assert partition["global_concurrency_limit"] is None
    for row in deployments.values():
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


@pytest.fixture
def at_server(deployed: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Connect this process to the server, and poll partitions more often."""
    monkeypatch.setattr(work_pool, "_POLL_SECONDS", 0.05)
    with temporary_settings({PREFECT_API_URL: deployed["PREFECT_API_URL"]}):
        yield


def submit_partitions(tag: str, count: int = 2) -> list[FlowRun]:
    """Submit partitions to the pool, of which these tests run no worker."""
    partitions = [
        Partition(variant_id=tag, expected="", missing="", number=number + 1, count=count)
        for number in range(count)
    ]
    request = request_of(Path("/data"), Path("/store")).model_dump(mode="json")
    return [
        work_pool.submit(row.name, {"request": request, "partition": row.model_dump()}, tag)
        for row in partitions
    ]


def test_partitions_are_found_by_a_later_run_and_how_they_end_is_reported(
    at_server, caplog
) -> None:
    runs = submit_partitions("found")
    submit_partitions("of another variant", 1)
    assert {run.id for run in work_pool.unfinished("found")} == {run.id for run in runs}
    ends = [Completed(), Failed(message="Flow run encountered an exception: DataError: no disk.")]

    def end_one(seen: Sequence[FlowRun]) -> None:
        if ends:
            with get_client(sync_client=True) as client:
                client.set_flow_run_state(runs[len(ends) - 1].id, ends.pop(), force=True)

    seen = work_pool.wait_for(work_pool.infer_work_pool(), runs, end_one)
    assert all(map(work_pool.has_ended, seen))
    assert work_pool.unfinished("found") == []
    (failed,) = [run for run in seen if run.state is not None and run.state.is_failed()]
    message = work_pool.why_ended(failed)
    assert message == "partition 2 of 2 on worker None is failed (DataError: no disk.)"
    assert caplog.text.count("prefect worker start --pool waver-infer --limit 1") == 1


def test_a_deployment_of_another_version_must_be_created_again(at_server) -> None:
    parameters = {"request": {"data": "/data"}, "partition": {"number": 1}}
    with pytest.raises(ConfigError, match=r"another version .* infra/prefect\.yaml --all"):
        work_pool.submit("partition", parameters, "other")


def test_a_run_that_is_stopped_cancels_its_partitions(at_server) -> None:
    runs = submit_partitions("stopped")
    stop_children()
    try:
        with pytest.raises(StageError, match="its partitions were canceled: run again"):
            work_pool.wait_for("waver-infer", runs, lambda seen: None)
    finally:
        allow_children()
    ended = work_pool.wait_for("waver-infer", runs, lambda seen: None)
    assert [run.state and run.state.name for run in ended] == ["Cancelled", "Cancelled"]


def test_a_partition_whose_node_is_gone_is_not_waited_for(at_server, monkeypatch) -> None:
    monkeypatch.setattr(work_pool, "_OFFLINE_SECONDS", 0.2)
    (run,) = submit_partitions("gone", 1)
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run.id, Running(), force=True)
        client.update_flow_run_labels(run.id, {"prefect.worker.name": "far away"})
    (ended,) = work_pool.wait_for("waver-infer", [run], lambda seen: None)
    assert "'far away' is crashed (the worker went offline" in work_pool.why_ended(ended)


def test_a_partition_expects_its_own_segments_alone(at_server, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "files").mkdir()
    write_release(tmp_path / "data")
    request = request_of(tmp_path / "data", tmp_path / "store")
    finish(request, tmp_path / "files")
    context = open_context(request)
    manifest = read_manifest(context)
    expected, variant = expected_items(manifest.samples), resolve_models(context, manifest).variant
    partition = Partition(
        variant_id=variant.variant_id, expected=digest_of(sorted(expected.items())), missing="",
        number=2, count=3,
    )  # fmt: skip
    report = infer_partition_flow(request, partition)
    assert report.num_expected == len(partition.select(expected)) < len(expected)
    assert (report.variant_id, report.num_computed) == (variant.variant_id, 0)
