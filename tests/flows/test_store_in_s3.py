"""The whole pipeline with its store in S3: a real server on loopback, real stages, a real kill."""

import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.context.context import open_context
from flows.context.request import STAGES
from flows.context.results import open_report
from storage.results import MetricRecord, VerdictRecord
from tests.flows.commands.command_line import (
    SandboxRun,
    Waver,
    arguments_of,
    computed,
    forked_waver,
    request_of,
    run,
)
from tests.s3_server import S3Server

pytestmark = [pytest.mark.operations, pytest.mark.timeout(900)]

BUCKET = "waver-store"
STORE = f"s3://{BUCKET}/a/prefix"


@pytest.fixture(scope="module")
def in_s3(
    server: dict[str, str], s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Waver]:
    """The command line, and this process, with the S3 server's endpoint and credentials."""
    s3_server.new_bucket(BUCKET)
    caches = {"XDG_CACHE_HOME": str(tmp_path_factory.mktemp("user cache"))}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (s3_server.environment | caches).items():
            patch.setenv(name, value)
        with forked_waver(server | s3_server.environment | caches) as waver:
            yield waver


def kill_at(waver: Waver, line: str, data: Path) -> None:
    """Start a run and kill -9 it after a line of its output."""
    reader, writer = os.pipe()
    process_id = waver.start(arguments_of(data, STORE), writer, writer)
    os.close(writer)
    seen = []
    with open(reader) as output:  # noqa: PTH123
        for text in output:
            seen.append(text)
            if line in text:
                time.sleep(0.3)
                os.kill(process_id, signal.SIGKILL)
                break
    assert waver.wait() == -signal.SIGKILL, "".join(seen)


@pytest.fixture(scope="module")
def finished(in_s3: Waver, sandbox_run: SandboxRun) -> str:
    """The output of a run that finished a store after two runs were killed in it."""
    for line in ("segment: 6 expected", "infer: opening the model"):
        kill_at(in_s3, line, sandbox_run.data)
    return run(in_s3, sandbox_run.data, STORE)


def outcome(data: Path, store: Path | str) -> tuple[set[VerdictRecord], set[MetricRecord]]:
    report = open_report(open_context(request_of(data, store)))
    return set(report.read(VerdictRecord)), set(report.read(MetricRecord))


def test_a_run_in_s3_killed_twice_has_the_verdicts_of_a_local_one(
    finished: str, sandbox_run: SandboxRun
) -> None:
    assert computed(finished, "finetune") == 0, "the killed run trained the model"
    assert computed(finished, "infer") > 0
    verdicts, metrics = outcome(sandbox_run.data, STORE)
    assert len(verdicts) == 6 * 4
    assert (verdicts, metrics) == outcome(sandbox_run.data, sandbox_run.store)


def test_the_report_is_named_by_its_url(finished: str, s3_server: S3Server) -> None:
    (line,) = [line for line in finished.splitlines() if line.startswith("Report: ")]
    url = line.removeprefix("Report: ").strip()
    assert url.startswith(f"{STORE}/aggregate/")
    key = url.removeprefix(f"s3://{BUCKET}/")
    answer = s3_server.client.get_object(Bucket=BUCKET, Key=key)
    assert answer["ContentType"] == "text/html"
    assert b"<html" in answer["Body"].read()


def requests_by_stage(log: list[tuple[str, str]]) -> dict[str, Counter[str]]:
    """Count requests by the stage in their path; those of none are ``other``."""
    counts: dict[str, Counter[str]] = {stage: Counter() for stage in (*STAGES, "other")}
    for kind, path in log:
        stage = next((step for step in path.split("/") if step in STAGES), "other")
        counts[stage][kind] += 1
    return counts


def test_a_run_with_nothing_to_do_costs_a_request_per_part_some_per_run_and_listings(
    in_s3: Waver, finished: str, sandbox_run: SandboxRun, s3_server: S3Server,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    run(in_s3, sandbox_run.data, STORE)  # which copies the markers and tables of the parts
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


def test_an_object_deleted_or_overwritten_in_s3_is_computed_again(
    in_s3: Waver, finished: str, sandbox_run: SandboxRun, s3_server: S3Server
) -> None:
    keys = s3_server.keys(BUCKET)
    video = next(key for key in keys if "/segment/" in key and key.endswith(".mp4"))
    table = next(key for key in keys if "/TranscriptRecord/" in key)
    s3_server.client.delete_object(Bucket=BUCKET, Key=video)
    s3_server.client.put_object(Bucket=BUCKET, Key=table, Body=b"PAR1 of something else")
    output = run(
        in_s3, sandbox_run.data, STORE, "--only", "segment", "--only", "transcribe",
    )  # fmt: skip
    assert computed(output, "segment") == 1
    assert computed(output, "transcribe") >= 1
    assert video in s3_server.keys(BUCKET)
    assert outcome(sandbox_run.data, STORE) == outcome(sandbox_run.data, sandbox_run.store)


@pytest.mark.parametrize(
    ("variables", "store", "expected"),
    [
        ({}, "s3://no-such-bucket/store", "bucket that does not exist"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, STORE, "cannot be reached at http://127"),
    ],
)
def test_a_mistake_is_one_sentence_on_the_terminal(
    server: dict[str, str], s3_server: S3Server, in_s3: Waver, sandbox_run: SandboxRun,
    variables: dict[str, str], store: str, expected: str,
) -> None:  # fmt: skip
    with forked_waver(server | s3_server.environment | variables) as waver:
        ended = waver(*arguments_of(sandbox_run.data, store))
    text = " ".join((ended.stdout + ended.stderr).split())
    assert ended.returncode in (1, 2)
    assert expected in text
    assert "Traceback" not in text
    assert "botocore" not in text
