"""The whole pipeline through the command line: killed in every stage, and with a damaged store.

Everything is real: a small sandbox world, the shipped models, a Prefect server, child processes.
"""

import signal
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from flows.context.context import open_context
from flows.context.request import STAGES
from flows.context.results import open_report
from flows.server.history import post
from infra.sandbox.plan import WorldSettings
from infra.sandbox.world import make_world
from storage.results import MetricRecord, VerdictRecord
from tests.flows.commands.command_line import command, computed, request_of, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

NUM_VIDEOS = 6
STARTED = {  # the log line after which each stage is in progress
    "segment": f"segment: {NUM_VIDEOS} expected",
    "transcribe": f"transcribe: {NUM_VIDEOS} expected",
    "manifest": f"manifest: {NUM_VIDEOS} expected",
    "finetune": "finetune: step 1/4",
    "infer": "infer: opening the model",  # once open it may predict all of it before the kill
    "aggregate": "aggregate: 1 expected",
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("a world")
    make_world(root, WorldSettings(num_participants=3, videos_per_participant=2), workers=2)
    return root


def kill_in(server: dict[str, str], stage: str, data: Path, store: Path) -> str:
    """Start a run and kill -9 it in the middle of a stage; returns its output."""
    process = subprocess.Popen(
        command(data, store),
        env=server, text=True, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout is not None
    seen = []
    with process.stdout:
        for line in process.stdout:
            seen.append(line)
            if STARTED[stage] in line:
                time.sleep(0.3)
                process.send_signal(signal.SIGKILL)
                break
    assert process.wait(timeout=60) == -signal.SIGKILL, "".join(seen)
    return "".join(seen)


def outcome(data: Path, store: Path) -> tuple[set[VerdictRecord], set[MetricRecord]]:
    report = open_report(open_context(request_of(data, store)))
    return set(report.read(VerdictRecord)), set(report.read(MetricRecord))


@pytest.fixture(scope="module")
def undisturbed(server: dict[str, str], world: Path, tmp_path_factory: pytest.TempPathFactory):
    store = tmp_path_factory.mktemp("undisturbed store")
    output = run(server, world, store)
    assert all(computed(output, stage) > 0 for stage in STAGES)
    return store, outcome(world, store)


@pytest.fixture(scope="module")
def killed_store(server: dict[str, str], world: Path, tmp_path_factory: pytest.TempPathFactory):
    """A store with outputs of all stages: runs were killed in each of them but inference."""
    store = tmp_path_factory.mktemp("killed store")
    for stage in STAGES:
        if stage != "infer":
            kill_in(server, stage, world, store)
    return store


def damage(store: Path) -> None:
    """Delete a video, flip bits of the transcripts, and truncate the predictions."""
    next((store / "segment").rglob("*.mp4")).unlink()
    transcripts = next((store / "transcribe").rglob("TranscriptRecord/*.parquet"))
    content = bytearray(transcripts.read_bytes())
    content[len(content) // 2] ^= 0xFF
    transcripts.write_bytes(content)
    predictions = next((store / "infer").rglob("PredictionRecord/*.parquet"))
    predictions.write_bytes(predictions.read_bytes()[:-10])


def test_a_run_killed_in_every_stage_and_damaged_ends_like_an_undisturbed_one(
    server, world, undisturbed, killed_store
) -> None:
    damage(killed_store)
    output = kill_in(server, "infer", world, killed_store)
    assert computed(output, "segment") == 1
    assert computed(output, "transcribe") >= 1
    assert computed(output, "finetune") == 0
    output = run(server, world, killed_store)
    assert computed(output, "infer") >= 1
    verdicts, metrics = outcome(world, killed_store)
    assert len(verdicts) == NUM_VIDEOS * 4
    assert (verdicts, metrics) == undisturbed[1]


def test_training_shows_its_progress_and_its_curve_while_it_runs(server, undisturbed) -> None:
    expected = {"artifacts": {"key": {"any_": ["finetune-progress", "finetune-curve"]}}}
    with httpx.Client(base_url=server["PREFECT_API_URL"], timeout=60) as client:
        rows = post(client, "/artifacts/filter", expected)
    progress = [row for row in rows if row["key"] == "finetune-progress"]
    curves = [row for row in rows if row["key"] == "finetune-curve"]
    assert {row["type"] for row in progress} == {"progress"}
    assert any(row["data"] == 100 for row in progress)  # others are of runs that were killed
    assert {row["type"] for row in curves} == {"markdown"}
    assert all(row["task_run_id"] for row in rows)
    finished = [row["data"] for row in curves if row["data"].startswith("Step 4 of 4, loss ")]
    assert any("(data:image/svg+xml;base64," in text and "| 2 |" in text for text in finished)


def test_inference_shows_its_progress(server, undisturbed) -> None:
    expected = {"artifacts": {"key": {"any_": ["infer-progress"]}}}
    with httpx.Client(base_url=server["PREFECT_API_URL"], timeout=60) as client:
        rows = post(client, "/artifacts/filter", expected)
    assert {row["type"] for row in rows} == {"progress"}
    assert any(row["data"] == 100 for row in rows)
    assert all(row["task_run_id"] for row in rows)


def test_a_second_run_computes_nothing_and_is_cached(server, world, undisturbed) -> None:
    output = run(server, world, undisturbed[0])
    assert [computed(output, stage) for stage in STAGES] == [0] * 6
    assert output.count("Cached") == 6
    by_name = {"task_runs": {"name": {"like_": "shards with nothing to compute"}}}
    with httpx.Client(base_url=server["PREFECT_API_URL"], timeout=60) as client:
        rows = post(client, "/task_runs/filter", by_name)
    cached = {row["name"].split()[0] for row in rows if row["state_name"] == "Cached"}
    assert cached >= {"segment", "transcribe", "manifest"}
