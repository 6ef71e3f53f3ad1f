"""Runs of a real server: listed with how they ended, and run again where they ran."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.server.connection import api_client, post
from tests.flows.commands.command_line import Waver

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, video: Callable[[str], Path]) -> Path:
    folder = tmp_path_factory.mktemp("some data")
    shutil.copy(video("very-short.mp4"), folder / "one.mp4")
    return folder


def list_runs(waver: Waver, *options: str) -> list[dict]:
    ended = waver("runs", "--json", *options)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def segment(waver: Waver, data: Path, store: Path, status: int) -> str:
    options = ("--store", str(store), "--only", "segment", "--profile", "sandbox")
    ended = waver("run", "--data", str(data), *options)
    assert ended.returncode == status, ended.stdout + ended.stderr
    return ended.stderr


def test_a_failed_local_run_is_listed_and_run_again_with_its_own_request(
    waver: Waver, data: Path, tmp_path: Path
) -> None:
    options = ("--store", str(tmp_path / "a store"), "--only", "transcribe", "--profile", "sandbox")
    ended = waver("run", "--data", str(data), *options)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    (failed, *_) = list_runs(waver, "--state", "failed", "--limit", "1")
    assert failed["state_type"] == "FAILED"
    assert "'segment' is not finished" in failed["message"]
    assert failed["deployment"] is None
    table = waver("runs", "--limit", "1").stdout
    assert failed["run_id"][-8:] in table
    segment(waver, data, tmp_path / "a store", 0)
    again = waver("retry", failed["run_id"][:8])
    assert again.returncode == 0, again.stdout + again.stderr
    assert "transcribe: 0 cached, 1 computed" in again.stdout
    newest, *_ = list_runs(waver, "--limit", "1")
    assert (newest["state"], newest["name"]) == ("Completed", failed["name"])


def test_a_retry_does_not_compute_again_what_the_failed_run_had_forced(
    waver: Waver, data: Path, tmp_path: Path
) -> None:
    segment(waver, data, tmp_path / "store", 0)
    stages = ("--only", "segment", "--only", "manifest", "--force", "segment")
    options = ("--store", str(tmp_path / "store"), "--profile", "sandbox", *stages)
    failed = waver("run", "--data", str(data), *options)
    assert failed.returncode == 1
    assert "segment: 0 cached, 1 computed" in failed.stdout
    for _ in range(2):  # a retry of a retry, too
        newest, *_ = list_runs(waver, "--limit", "1")
        again = waver("retry", newest["run_id"])
        assert again.returncode == 1, "the manifest still lacks its transcripts"
        assert "segment: 1 cached, 0 computed" in again.stdout, again.stdout


def test_a_run_that_is_not_known_or_not_ended_or_of_single_videos_is_not_retried(
    waver: Waver, server: dict[str, str]
) -> None:
    assert "There is no run 'nowhere'" in waver("retry", "nowhere").stderr
    with api_client(server["PREFECT_API_URL"]) as client:
        flow = post(client, "/flows/", {"name": "waver"})["id"]
        for name, state, request in (
            ("at work", "RUNNING", {"data": "/data"}),
            ("of single videos", "FAILED", {"store": "/store"}),
            ("of another version", "FAILED", {"data": "/data", "retired": 1}),
        ):
            row = {"flow_id": flow, "name": name, "parameters": {"request": request}}
            post(client, "/flow_runs/", {**row, "state": {"type": state, "name": state.title()}})
    for name, reason in (
        ("at work", "is Running"),
        ("of single videos", "`waver predict` again"),
        ("of another version", "another version of Waver"),
    ):
        ended = waver("retry", name)
        assert ended.returncode == 2, ended.stdout + ended.stderr
        assert reason in " ".join(ended.stderr.split())


def test_runs_of_a_schedule_hide_no_others_and_the_end_of_their_id_names_one(
    waver: Waver, server: dict[str, str]
) -> None:
    with api_client(server["PREFECT_API_URL"]) as client:
        flow = post(client, "/flows/", {"name": "waver"})["id"]
        daily = {"schedule": {"interval": 86_400}, "active": True}
        entry = {"name": "daily", "flow_id": flow, "schedules": [daily]}
        deployment = post(client, "/deployments/", entry)["id"]
        post(client, f"/deployments/{deployment}/schedule", {"min_runs": 30})
    assert not [run for run in list_runs(waver) if run["deployment"] == "daily"]
    runs = [r for r in list_runs(waver, "--state", "scheduled") if r["deployment"] == "daily"]
    assert len(runs) == 20, "the limit"
    assert [run["due"] for run in runs] == sorted(run["due"] for run in runs)
    first = runs[0]["run_id"]
    assert f" {first[-8:]} " in waver("runs", "--state", "scheduled").stdout
    assert "runs begin or end with" in waver("retry", first[:8]).stderr
    for name in (first, first[-8:]):
        assert "is Scheduled: it can be retried once" in waver("retry", name).stderr


def test_many_runs_are_listed_across_pages(waver: Waver, server: dict[str, str]) -> None:
    with api_client(server["PREFECT_API_URL"]) as client:
        flow = post(client, "/flows/", {"name": "waver"})["id"]
        for number in range(205):
            run = {"flow_id": flow, "name": f"number {number}", "state": {"type": "SCHEDULED"}}
            post(client, "/flow_runs/", run)
    names = [run["name"] for run in list_runs(waver, "--limit", "203", "--state", "scheduled")]
    assert len(set(names)) == 203
    assert names[0] == "number 0"
    assert list_runs(waver, "--limit", "1")[0]["name"] == "number 204"
