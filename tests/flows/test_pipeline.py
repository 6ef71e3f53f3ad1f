"""The whole pipeline through the command line: killed in every stage, damaged, added to.

Everything is real: a small sandbox world, the shipped models, a Prefect server, child processes.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from flows.history import post
from flows.opening import open_run
from flows.request import STAGES, RunRequest
from flows.server import prefect_server, prepare_environment
from infra.sandbox.plan import WorldSettings
from infra.sandbox.world import make_world
from storage.results import MetricRecord, VerdictRecord

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

MODEL = Path(__file__).parents[2] / "infra" / "sandbox" / "models" / "omni-base"
QUICK = (
    "finetune.steps=4", "finetune.eval_steps=2", "finetune.batch_size=8",
    "aggregate.bootstrap_draws=50",
)  # fmt: skip
BEGUN = {  # the line after which each stage is in the middle of its work
    "segment": "segment: 12 wanted",
    "transcribe": "transcribe: 12 wanted",
    "manifest": "manifest: 12 wanted",
    "finetune": "finetune: step 1/4",
    "infer": "infer: model open",
    "aggregate": "aggregate: 1 wanted",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """One Prefect server for all runs of this module; gives the runs' environment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(tmp_path_factory.mktemp("prefect home")))
        patch.delenv("PREFECT_API_URL", raising=False)
        prepare_environment(Path(os.environ["PREFECT_HOME"]))
        with prefect_server() as api_url:
            yield {**os.environ, "PREFECT_API_URL": api_url, "PYTHONUNBUFFERED": "1"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("a world")
    make_world(root, WorldSettings(num_participants=6, videos_per_participant=2), workers=2)
    return root


def command(data: Path, store: Path, *options: str) -> list[str]:
    overrides = [part for setting in QUICK for part in ("--set", setting)]
    return [
        sys.executable, "-m", "flows.cli", "run", "--profile", "sandbox",
        "--data", str(data), "--store", str(store), *overrides, *options,
    ]  # fmt: skip


def run(server: dict[str, str], data: Path, store: Path, *options: str, status: int = 0) -> str:
    ended = subprocess.run(
        command(data, store, *options),
        env=server, capture_output=True, text=True, timeout=400, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert ended.returncode == status, ended.stdout + ended.stderr
    return ended.stdout


def kill_in(server: dict[str, str], stage: str, data: Path, store: Path) -> None:
    """Start a run and kill -9 it in the middle of a stage."""
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
            if BEGUN[stage] in line:
                time.sleep(0.3)
                process.send_signal(signal.SIGKILL)
                break
    assert process.wait(timeout=60) == -signal.SIGKILL, "".join(seen)


def outcome(data: Path, store: Path) -> tuple[set[VerdictRecord], set[MetricRecord]]:
    opened = open_run(
        RunRequest(data=str(data), store=str(store), profile="sandbox", overrides=QUICK)
    )
    variant, wanted = opened.aggregate, opened.report_wanted
    return set(variant.read(VerdictRecord, wanted)), set(variant.read(MetricRecord, wanted))


def made(output: str, stage: str) -> int:
    """How many items a stage made, from the line it ends with."""
    (line,) = [line for line in output.splitlines() if f"{stage}: " in line and " there, " in line]
    return int(line.split(" there, ")[1].split(" made")[0])


@pytest.fixture(scope="module")
def undisturbed(server: dict[str, str], world: Path, tmp_path_factory: pytest.TempPathFactory):
    store = tmp_path_factory.mktemp("undisturbed store")
    output = run(server, world, store)
    assert all(made(output, stage) > 0 for stage in STAGES)
    return store, outcome(world, store)


@pytest.fixture(scope="module")
def killed_store(server: dict[str, str], world: Path, tmp_path_factory: pytest.TempPathFactory):
    """A store in which a run was killed in each stage, and then finished."""
    store = tmp_path_factory.mktemp("killed store")
    for stage in STAGES:
        kill_in(server, stage, world, store)
    run(server, world, store)
    return store


def test_a_run_killed_in_every_stage_ends_like_an_undisturbed_one(
    world, undisturbed, killed_store
) -> None:
    verdicts, metrics = outcome(world, killed_store)
    assert len(verdicts) == 12 * 4
    assert (verdicts, metrics) == undisturbed[1]


def test_a_training_shows_its_progress_and_its_curve_while_it_runs(server, undisturbed) -> None:
    wanted = {"artifacts": {"key": {"any_": ["finetune-progress", "finetune-curve"]}}}
    with httpx.Client(base_url=server["PREFECT_API_URL"], timeout=60) as client:
        rows = post(client, "/artifacts/filter", wanted)
    progress = [row for row in rows if row["key"] == "finetune-progress"]
    drawn = [row for row in rows if row["key"] == "finetune-curve"]
    assert {row["type"] for row in progress} == {"progress"}
    assert any(row["data"] == 100 for row in progress)  # others are of runs that were killed
    assert {row["type"] for row in drawn} == {"markdown"}
    assert all(row["task_run_id"] for row in rows)
    whole = [row["data"] for row in drawn if row["data"].startswith("Step 4 of 4, loss ")]
    assert any("(data:image/svg+xml;base64," in told and "| 2 |" in told for told in whole)


def test_a_second_run_does_no_stage_work_and_says_so(server, world, undisturbed) -> None:
    output = run(server, world, undisturbed[0])
    assert [made(output, stage) for stage in STAGES] == [0] * 6
    assert output.count("Cached") == 6


def test_deleted_and_damaged_outputs_are_noticed_and_made_again(
    server, world, undisturbed, killed_store
) -> None:
    picture = next((killed_store / "segment").rglob("*.mp4"))
    picture.unlink()
    words = next((killed_store / "transcribe").rglob("TranscriptRecord/*.parquet"))
    content = bytearray(words.read_bytes())
    content[len(content) // 2] ^= 0xFF
    words.write_bytes(content)
    answers = next((killed_store / "infer").rglob("PredictionRecord/*.parquet"))
    answers.write_bytes(answers.read_bytes()[:-10])
    next((killed_store / "aggregate").rglob("report.html")).unlink()
    output = run(server, world, killed_store)
    assert made(output, "segment") == 1
    assert made(output, "transcribe") >= 1
    assert made(output, "finetune") == 0
    assert made(output, "infer") >= 1
    assert outcome(world, killed_store) == undisturbed[1]


def test_one_added_video_costs_one_video(server, world, tmp_path: Path) -> None:
    videos = sorted(world.rglob("*.mp4"))
    data = tmp_path / "any folder"
    data.mkdir()
    for path in videos[:2]:
        shutil.copy(path, data / path.name)
    cheap = ("--only", "segment", "--only", "transcribe", "--only", "manifest")
    run(server, data, tmp_path / "store", *cheap)
    shutil.copy(videos[2], data / videos[2].name)
    output = run(server, data, tmp_path / "store", *cheap)
    assert [made(output, stage) for stage in STAGES[:3]] == [1, 1, 1]
    opened = open_run(
        RunRequest(
            data=str(data), store=str(tmp_path / "store"), profile="sandbox", overrides=QUICK
        )
    )
    assert {sample.video_id for sample in opened.samples} == {p.name for p in videos[:3]}


def test_a_video_encoded_again_under_another_name_stops_the_run(
    server, world, tmp_path: Path
) -> None:
    data, (first, second) = tmp_path / "copied", sorted(world.rglob("*.mp4"))[:2]
    data.mkdir()
    shutil.copy(first, data / "first.mp4")
    shutil.copy(second, data / "second.mp4")
    again = ("-vf", "scale=-2:240", "-r", "15", "-c:v", "mpeg4", "-q:v", "8", "-c:a", "libmp3lame")
    source = ("-ss", "0.3", "-i", str(first))
    ffmpeg = ("ffmpeg", "-loglevel", "error", *source, *again, str(data / "copy.mkv"))
    subprocess.run(ffmpeg, check=True, timeout=100, stdin=subprocess.DEVNULL)
    rows = ("first.mp4,1,ann,train", "second.mp4,0,bea,val", "copy.mkv,1,cem,test")
    (data / "labels.csv").write_text("\n".join(["video,label,participant,split", *rows]) + "\n")
    cheap = ("--only", "segment", "--only", "transcribe", "--only", "manifest")
    stopped = subprocess.run(
        command(data, tmp_path / "store", *cheap),
        env=server, capture_output=True, text=True, timeout=400, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert stopped.returncode == 2, stopped.stdout + stopped.stderr
    assert "The same recording (1) stands in more than one of train, val" in stopped.stderr
    assert "recording copy.mkv = first.mp4: test, train" in stopped.stderr


def test_bad_videos_are_rejected_with_a_reason_and_good_ones_get_a_verdict(
    server, world, tmp_path: Path
) -> None:
    data, good = tmp_path / "mixed folder", sorted(world.rglob("*.mp4"))[0]
    data.mkdir()
    shutil.copy(good, data / "good one.mp4")
    (data / "empty.mp4").write_bytes(b"")
    (data / "text.mp4").write_text("this is not a video\n" * 50)
    (data / "truncated.mp4").write_bytes(good.read_bytes()[: good.stat().st_size // 3])
    output = run(server, data, tmp_path / "store", "--model", str(MODEL), status=3)
    assert "the file is empty" in output
    assert "not a video" in output
    opened = open_run(
        RunRequest(
            data=str(data), store=str(tmp_path / "store"), profile="sandbox", overrides=QUICK,
            model=str(MODEL),
        )
    )  # fmt: skip
    verdicts = opened.aggregate.read(VerdictRecord, opened.report_wanted)
    judged = {row.video_id for row in verdicts if row.verdict is not None}
    assert judged == {"good one.mp4"}
    reasons = {row.item_id: row.reason for row in opened.rejected()}
    assert set(reasons) == {"empty.mp4", "text.mp4", "truncated.mp4"}
    assert "not a video" in reasons["text.mp4"]
    assert "empty" in reasons["empty.mp4"]
