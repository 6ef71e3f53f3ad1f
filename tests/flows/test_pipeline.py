"""The whole pipeline through the command line: killed in every stage, and with a damaged store.

Everything is real: a small sandbox world, the shipped models, a Prefect server, child processes;
`flows.running.run_stage` runs every stage, and `flows.running.show` shows it.
"""

import os
import shutil
import signal
import time
from pathlib import Path

import httpx
import pytest

from flows.context.context import open_context
from flows.context.results import open_report
from flows.context.stage_names import STAGES
from flows.server.connection import post
from storage.results import MetricRecord, VerdictRecord
from tests.flows.commands.command_line import (
    SandboxRun,
    Waver,
    arguments_of,
    computed,
    request_of,
    run,
)

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
def world(sandbox_run: SandboxRun) -> Path:
    return sandbox_run.data


def kill_in(waver: Waver, stage: str, data: Path, store: Path) -> str:
    """Start a run and kill -9 it in the middle of a stage; returns its output."""
    reader, writer = os.pipe()
    process_id = waver.start(arguments_of(data, store), writer, writer)
    os.close(writer)
    seen = []
    with open(reader) as output:  # noqa: PTH123
        for line in output:
            seen.append(line)
            if STARTED[stage] in line:
                time.sleep(0.3)
                os.kill(process_id, signal.SIGKILL)
                break
    assert waver.wait() == -signal.SIGKILL, "".join(seen)
    return "".join(seen)


def outcome(data: Path, store: Path) -> tuple[set[VerdictRecord], set[MetricRecord]]:
    report = open_report(open_context(request_of(data, store)))
    return set(report.read(VerdictRecord)), set(report.read(MetricRecord))


@pytest.fixture(scope="module")
def undisturbed(sandbox_run: SandboxRun):
    assert all(computed(sandbox_run.output, stage) > 0 for stage in STAGES)
    return sandbox_run.store, outcome(sandbox_run.data, sandbox_run.store)


@pytest.fixture(scope="module")
def killed_store(waver: Waver, world: Path, tmp_path_factory: pytest.TempPathFactory):
    """A store in which runs were killed in every stage but the last, which none reached."""
    store = tmp_path_factory.mktemp("killed store")
    for stage in STAGES[:-1]:
        kill_in(waver, stage, world, store)
    return store


def damage(store: Path, undisturbed: Path) -> None:
    """Delete a video, flip bits of the transcripts, and truncate an undisturbed run's predictions.

    The model is the same, trained again with an interruption: so is the predictions' variant.
    """
    shutil.copytree(undisturbed / "infer", store / "infer", dirs_exist_ok=True)
    next((store / "segment").rglob("*.mp4")).unlink()
    transcripts = next((store / "transcribe").rglob("TranscriptRecord/*.parquet"))
    content = bytearray(transcripts.read_bytes())
    content[len(content) // 2] ^= 0xFF
    transcripts.write_bytes(content)
    predictions = next((store / "infer").rglob("PredictionRecord/*.parquet"))
    predictions.write_bytes(predictions.read_bytes()[:-10])


@pytest.fixture(scope="module")
def resumed_store(waver: Waver, world: Path, undisturbed, killed_store: Path) -> Path:
    """The store of the killed runs, damaged, killed once more, and finished."""
    damage(killed_store, undisturbed[0])
    output = kill_in(waver, "aggregate", world, killed_store)
    assert computed(output, "segment") == 1
    assert computed(output, "transcribe") >= 1
    assert computed(output, "finetune") == 0
    assert computed(output, "infer") >= 1
    assert len(list((killed_store / "infer").iterdir())) == 1, "the damaged ones are read"
    output = run(waver, world, killed_store)
    assert computed(output, "infer") == 0
    return killed_store


def test_a_run_killed_in_every_stage_and_damaged_ends_like_an_undisturbed_one(
    world: Path, undisturbed, resumed_store: Path
) -> None:
    verdicts, metrics = outcome(world, resumed_store)
    assert len(verdicts) == NUM_VIDEOS * 4
    assert (verdicts, metrics) == undisturbed[1]


def test_training_shows_its_progress_and_its_curve_while_it_runs(server, resumed_store) -> None:
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


def test_inference_shows_its_progress(server, resumed_store) -> None:
    expected = {"artifacts": {"key": {"any_": ["infer-progress"]}}}
    with httpx.Client(base_url=server["PREFECT_API_URL"], timeout=60) as client:
        rows = post(client, "/artifacts/filter", expected)
    assert {row["type"] for row in rows} == {"progress"}
    assert any(row["data"] == 100 for row in rows)
    assert all(row["flow_run_id"] for row in rows)


def test_a_second_run_computes_nothing_and_is_cached(server, waver, world, resumed_store) -> None:
    output = run(waver, world, resumed_store)
    assert [computed(output, stage) for stage in STAGES] == [0] * 6
    assert output.count("Cached") == 6
    by_name = {"task_runs": {"name": {"like_": "shards with nothing to compute"}}}
    with httpx.Client(base_url=server["PREFECT_API_URL"], timeout=60) as client:
        rows = post(client, "/task_runs/filter", by_name)
    cached = {row["name"].split()[0] for row in rows if row["state_name"] == "Cached"}
    assert cached >= {"segment", "transcribe", "manifest"}
