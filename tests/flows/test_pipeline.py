"""The whole pipeline through the command line, in S3: killed in every stage, and damaged.

Everything is real: a small sandbox world, the shipped models, a Prefect server, child processes,
an S3 server on loopback. `flows.running.run_stage` runs every stage, and `flows.running.show` shows
it. The run that is not disturbed has its store on a disk, so the two also show that the verdicts
do not depend on where the store is. `tests/infra/benchmarks/chaos` kills runs on a disk.
"""

import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
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
from tests.s3_server import S3Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_500)]

BUCKET = "waver-store"
STORE = f"s3://{BUCKET}/a/prefix"
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
def in_s3(
    waver: Waver, s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Waver]:
    """The command line, and this process, with the S3 server's endpoint and credentials."""
    s3_server.new_bucket(BUCKET)
    caches = {"XDG_CACHE_HOME": str(tmp_path_factory.mktemp("user cache"))}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (s3_server.environment | caches).items():
            patch.setenv(name, value)
        with waver.fork(s3_server.environment | caches) as in_s3:
            yield in_s3


def kill_in(waver: Waver, stage: str, data: Path) -> str:
    """Start a run and kill -9 it in the middle of a stage; returns its output."""
    reader, writer = os.pipe()
    process_id = waver.start(arguments_of(data, STORE), writer, writer)
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


def outcome(data: Path, store: Path | str) -> tuple[set[VerdictRecord], set[MetricRecord]]:
    report = open_report(open_context(request_of(data, store)))
    return set(report.read(VerdictRecord)), set(report.read(MetricRecord))


def damage(s3_server: S3Server, undisturbed: Path) -> str:
    """Delete a video, flip bits of the transcripts, and truncate an undisturbed run's predictions.

    The model is the same, trained again with an interruption: so is the predictions' variant.
    Returns the key of the deleted video.
    """
    for path in sorted((undisturbed / "infer").rglob("*")):
        if path.is_file():
            body, key = path.read_bytes(), f"a/prefix/{path.relative_to(undisturbed).as_posix()}"
            cut = body[:-10] if "/PredictionRecord/" in key else body
            s3_server.client.put_object(Bucket=BUCKET, Key=key, Body=cut)
    keys = s3_server.keys(BUCKET)
    video = next(k for k in keys if k.startswith("a/prefix/segment/") and k.endswith(".mp4"))
    s3_server.client.delete_object(Bucket=BUCKET, Key=video)
    transcripts = next(key for key in keys if "/TranscriptRecord/" in key)
    stored = s3_server.client.get_object(Bucket=BUCKET, Key=transcripts)["Body"].read()
    content = bytearray(stored)
    content[len(content) // 2] ^= 0xFF
    s3_server.client.put_object(Bucket=BUCKET, Key=transcripts, Body=bytes(content))
    return video


@pytest.fixture(scope="module")
def finished(in_s3: Waver, sandbox_run: SandboxRun, s3_server: S3Server) -> str:
    """The output of a run that finished a store: killed in every stage, damaged, killed again."""
    assert all(computed(sandbox_run.output, stage) > 0 for stage in STAGES)
    for stage in STAGES[:-1]:
        kill_in(in_s3, stage, sandbox_run.data)
    video = damage(s3_server, sandbox_run.store)
    output = kill_in(in_s3, "aggregate", sandbox_run.data)
    assert computed(output, "segment") == 1
    assert computed(output, "transcribe") >= 1
    assert computed(output, "finetune") == 0, "an earlier run trained the model"
    assert computed(output, "infer") >= 1
    assert video in s3_server.keys(BUCKET)
    folder = "a/prefix/infer/"
    variants = {key.split("/")[3] for key in s3_server.keys(BUCKET) if key.startswith(folder)}
    assert len(variants) == 1, "the damaged ones are read"
    output = run(in_s3, sandbox_run.data, STORE)
    assert computed(output, "infer") == 0
    return output


def test_a_run_killed_in_every_stage_and_damaged_ends_like_an_undisturbed_one(
    finished: str, sandbox_run: SandboxRun
) -> None:
    verdicts, metrics = outcome(sandbox_run.data, STORE)
    assert len(verdicts) == NUM_VIDEOS * 4
    assert (verdicts, metrics) == outcome(sandbox_run.data, sandbox_run.store)


def test_the_report_is_named_by_its_url(finished: str, s3_server: S3Server) -> None:
    (line,) = [line for line in finished.splitlines() if line.startswith("Report: ")]
    url = line.removeprefix("Report: ").strip()
    assert url.startswith(f"{STORE}/aggregate/")
    key = url.removeprefix(f"s3://{BUCKET}/")
    answer = s3_server.client.get_object(Bucket=BUCKET, Key=key)
    assert answer["ContentType"] == "text/html"
    assert b"<html" in answer["Body"].read()


def test_training_shows_its_progress_and_its_curve_while_it_runs(server, finished) -> None:
    expected = {"artifacts": {"key": {"any_": ["finetune-progress", "finetune-curve"]}}}
    with httpx.Client(base_url=server["PREFECT_API_URL"], timeout=60) as client:
        rows = post(client, "/artifacts/filter", expected)
    progress = [row for row in rows if row["key"] == "finetune-progress"]
    curves = [row for row in rows if row["key"] == "finetune-curve"]
    assert {row["type"] for row in progress} == {"progress"}
    assert any(row["data"] == 100 for row in progress)  # others are of runs that were killed
    assert {row["type"] for row in curves} == {"markdown"}
    assert all(row["task_run_id"] for row in rows)
    at_end = [row["data"] for row in curves if row["data"].startswith("Step 4 of 4, loss ")]
    assert any("(data:image/svg+xml;base64," in text and "| 2 |" in text for text in at_end)


def test_inference_shows_its_progress(server, finished) -> None:
    expected = {"artifacts": {"key": {"any_": ["infer-progress"]}}}
    with httpx.Client(base_url=server["PREFECT_API_URL"], timeout=60) as client:
        rows = post(client, "/artifacts/filter", expected)
    assert {row["type"] for row in rows} == {"progress"}
    assert any(row["data"] == 100 for row in rows)
    assert all(row["flow_run_id"] for row in rows)


@pytest.fixture(scope="module")
def second_output(in_s3: Waver, finished: str, sandbox_run: SandboxRun) -> str:
    """The output of a run with nothing to do, which copies markers and tables of the parts."""
    return run(in_s3, sandbox_run.data, STORE)


def test_a_second_run_computes_nothing_and_is_cached(server, second_output) -> None:
    assert [computed(second_output, stage) for stage in STAGES] == [0] * 6
    assert second_output.count("Cached") == 6
    by_name = {"task_runs": {"name": {"like_": "shards with nothing to compute"}}}
    with httpx.Client(base_url=server["PREFECT_API_URL"], timeout=60) as client:
        rows = post(client, "/task_runs/filter", by_name)
    cached = {row["name"].split()[0] for row in rows if row["state_name"] == "Cached"}
    assert cached >= {"segment", "transcribe", "manifest"}


def requests_by_stage(log: list[tuple[str, str]]) -> dict[str, Counter[str]]:
    """Count requests by the stage in their path; those of none are ``other``."""
    counts: dict[str, Counter[str]] = {stage: Counter() for stage in (*STAGES, "other")}
    for kind, path in log:
        stage = next((step for step in path.split("/") if step in STAGES), "other")
        counts[stage][kind] += 1
    return counts


def test_a_run_with_nothing_to_do_costs_a_request_per_part_some_per_run_and_listings(
    in_s3: Waver, second_output: str, sandbox_run: SandboxRun, s3_server: S3Server,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    before = len(s3_server.log)
    output = run(in_s3, sandbox_run.data, STORE)
    counts = requests_by_stage(s3_server.log[before:])
    assert [computed(output, stage) for stage in STAGES] == [0] * 6
    num_parts = sum("/done/" in key for key in s3_server.keys(BUCKET))
    total = sum(counts.values(), Counter())
    with capsys.disabled():
        sys.stdout.write(f"\n{num_parts} parts, requests of a run with nothing to do:\n")
        for stage, of_stage in counts.items():
            sys.stdout.write(f"  {stage:<10} {dict(of_stage)}\n")
    assert total.total() - total["LIST"] <= num_parts + 20
    assert total["LIST"] <= 100
    assert total["PUT"] <= 1


def test_a_mistake_is_one_sentence_on_the_terminal(in_s3: Waver, sandbox_run: SandboxRun) -> None:
    ended = in_s3(*arguments_of(sandbox_run.data, "s3://no-such-bucket/store"))
    text = " ".join((ended.stdout + ended.stderr).split())
    assert ended.returncode in (1, 2)
    assert "bucket that does not exist" in text
    assert "Traceback" not in text
    assert "botocore" not in text
