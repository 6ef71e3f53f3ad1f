"""What an operator sees of runs in Prefect's UI: a finished run, a failed one and one in progress.

A real server, real runs of the command line, and a real browser. The stages that are run are
`flows.running.run_stage` and `flows.running.stage_flow`; the pages show `flows.running.show`.
"""

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from flows.server.history import post
from tests.browser import read_page
from tests.flows.commands.command_line import Waver
from tests.flows.toys import MODEL, QUICK

pytestmark = [pytest.mark.operations, pytest.mark.timeout(600)]

VIDEOS = ("very-short.mp4", "one-frame.mp4", "cfr25.mp4", "ntsc.mp4", "jitter.mkv", "cfr25.mp4")
MODEL_OPTIONS = ("--model", str(MODEL), *(part for each in QUICK for part in ("--set", each)))


class Ui:
    """Prefect's API and the pages that its UI shows."""

    def __init__(self, api_url: str, client: httpx.Client) -> None:
        self._url = api_url.removesuffix("/api")
        self._client = client
        self._since = datetime.now(UTC).isoformat()  # runs of other modules are earlier

    def task_names(self) -> set[str]:
        started = {"start_time": {"after_": self._since}}
        return {run["name"] for run in self.find("task_runs", task_runs=started)}

    def find(self, kind: str, **criteria: Any) -> list[dict[str, Any]]:
        return post(self._client, f"/{kind}/filter", criteria)

    def newest_run(self, flow: str) -> dict[str, Any]:
        by_flow = {"flows": {"name": {"any_": [flow]}}, "sort": "START_TIME_DESC", "limit": 1}
        return self.find("flow_runs", **by_flow)[0]

    def artifacts(self, key: str, run_id: str) -> list[dict[str, Any]]:
        return self.find(
            "artifacts",
            artifacts={"key": {"any_": [key]}},
            flow_runs={"id": {"any_": [run_id]}},
        )

    def run_page(self, run_id: str, *until: str) -> str:
        return read_page(f"{self._url}/flow-runs/flow-run/{run_id}", *until)

    def artifact_page(self, artifact_id: str, *until: str) -> str:
        return read_page(f"{self._url}/artifacts/artifact/{artifact_id}", *until)


@pytest.fixture(scope="module")
def ui(server: dict[str, str]) -> Iterator[Ui]:
    api_url = server["PREFECT_API_URL"]
    with httpx.Client(base_url=api_url, timeout=60) as client:
        yield Ui(api_url, client)


@pytest.fixture(scope="module")
def release(finished_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished data set and store of toy rows."""
    folder = tmp_path_factory.mktemp("release")
    for name in ("data", "store"):
        shutil.copytree(finished_once / name, folder / name)
    return folder


def options(folder: Path, store: Path | None = None) -> list[str]:
    return ["--data", str(folder / "data"), "--store", str(store or folder / "store")]


@pytest.fixture(scope="module")
def finished_run(ui: Ui, waver: Waver, release: Path) -> dict[str, Any]:
    ended = waver("run", "--profile", "sandbox", *options(release), *MODEL_OPTIONS)
    assert ended.returncode == 3, ended.stdout + ended.stderr
    return ui.newest_run("waver")


def test_a_run_that_rejected_items_has_a_state_of_that_name(finished_run: dict[str, Any]) -> None:
    state = finished_run["state"]
    assert finished_run["name"] == "waver sandbox: all stages"
    assert (state["type"], state["name"]) == ("COMPLETED", "SomeRejected")
    assert state["message"] == "infer: 1 of 16 segments rejected: see artifact infer-rejected"


def test_the_page_of_a_finished_run_shows_the_log_lines_of_all_stages(
    ui: Ui, finished_run: dict[str, Any]
) -> None:
    text = ui.run_page(finished_run["id"], "SomeRejected", "aggregate: verdicts by")
    for stage, count in (("segment", 8), ("transcribe", 8), ("manifest", 8), ("infer", 16)):
        assert text.count(f"{stage}: {count} cached, 0 computed") == 1


def test_the_summary_of_a_finished_run_shows_stages_headline_rejections_and_the_report(
    ui: Ui, finished_run: dict[str, Any], release: Path
) -> None:
    (summary,) = ui.artifacts("run-summary", finished_run["id"])
    text = ui.artifact_page(summary["id"], "aggregate", "macro F1", "average precision")
    assert "1 of 16 segments" in text
    assert "damaged" in text
    (line,) = [line for line in text.splitlines() if line.endswith("report.html")]
    assert Path(line).is_file()
    assert line.startswith(str(release / "store"))


def test_the_page_of_a_failed_run_shows_the_stage_the_cause_and_the_command(
    ui: Ui, waver: Waver, release: Path, tmp_path: Path
) -> None:
    ended = waver(
        "run", "--profile", "sandbox", *options(release, tmp_path / "store"), "--only", "manifest"
    )
    assert ended.returncode == 1, ended.stdout + ended.stderr
    cause = ended.stderr.strip().removeprefix("waver: ")
    expected = (
        f"Stage manifest failed: {cause} Finished results are kept. To continue, retry this run, "
        "or run `waver run --only manifest` with the other options as before."
    )
    run = ui.newest_run("waver")
    assert run["name"] == "waver sandbox: manifest"
    for flow in ("waver", "manifest"):
        run = ui.newest_run(flow)
        assert (run["state"]["type"], run["state"]["message"]) == ("FAILED", expected)
        ui.run_page(run["id"], "Failed", f"Stage manifest failed: {cause}")
        logs = ui.find("logs", logs={"flow_run_id": {"any_": [run["id"]]}, "level": {"ge_": 40}})
        assert [log["message"] for log in logs] == [expected]
    (summary,) = ui.artifacts("run-summary", ui.newest_run("waver")["id"])
    assert summary["data"].startswith("**Stage manifest failed: ")


@pytest.fixture(scope="module")
def stopped_run(
    ui: Ui, waver: Waver, video: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Any]]:
    """A run that cuts videos, two of six being in the store, stopped while its page is read."""
    folder = tmp_path_factory.mktemp("videos") / "release"
    (folder / "data").mkdir(parents=True)
    for number, name in enumerate(VIDEOS):
        if number == 2:
            assert waver(*segment_of(folder)).returncode == 0
        shutil.copyfile(video(name), folder / "data" / f"{number}{video(name).suffix}")
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123
        process_id = waver.start(segment_of(folder), nowhere.fileno(), nowhere.fileno())
    run: dict[str, Any] = {}
    deadline = time.monotonic() + 120
    try:
        while not run and time.monotonic() < deadline:
            running = ui.find("flow_runs", flow_runs={"state": {"type": {"any_": ["RUNNING"]}}})
            run = next((run for run in running if ui.artifacts("segment-progress", run["id"])), {})
        os.kill(process_id, signal.SIGSTOP)
        assert run, "the run ended before it was seen"
        yield run
    finally:
        os.kill(process_id, signal.SIGCONT)
        waver.wait()


def segment_of(folder: Path) -> list[str]:
    return ["run", "--profile", "sandbox", *options(folder), "--only", "segment"]


def test_the_page_of_a_run_in_progress_shows_how_many_videos_are_done(
    ui: Ui, stopped_run: dict[str, Any]
) -> None:
    ui.run_page(stopped_run["id"], "Running")
    (progress,) = ui.artifacts("segment-progress", stopped_run["id"])
    assert progress["data"] >= 33
    ui.artifact_page(progress["id"], "of 6 videos (2 cached)")
    parent = ui.newest_run("waver")
    (summary,) = ui.artifacts("run-summary", parent["id"])
    text = ui.artifact_page(summary["id"], "segment", "Running")
    assert "waver sandbox: segment" in text


def test_names_of_task_runs_count_shards_and_name_no_file(ui: Ui, stopped_run) -> None:
    # Names of task runs reach the server as events, some time after the run.
    first = {"segment shard 2 of 6 (1 video)", "segment shard 3 of 6 (1 video)"}
    deadline = time.monotonic() + 60
    while not first & (names := ui.task_names()):
        assert time.monotonic() < deadline, names
        time.sleep(0.2)
    assert "transcribe shards with nothing to compute (8 videos)" in names
    assert "infer shard 1 of 1 (16 segments)" in names
    assert not [name for name in names if ".mp4" in name or "9000" in name]
