"""Whole inference stages; the engine's process renders requests (`tasks.inference.requests`)."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from logging.handlers import BufferingHandler
from pathlib import Path

import pytest

from storage.errors import ConfigError, CrashError, StageError
from storage.records import RejectedRecord, SampleRecord
from storage.results import PredictionRecord
from storage.schema import to_table, write_parquet
from storage.store.store import Store
from storage.store.variant import ItemOutput, Variant
from tasks.infer import infer_missing, infer_shard, variant_of
from tasks.inference.isolation import Crash, in_flight, predict_all
from tasks.inference.job import InferJob
from tasks.inference.preparation import DecodeSample
from tasks.inference.samples import expected_items
from tasks.inference.settings import InferConfig, InferResources
from tasks.log import LOGGER
from tasks.model.model_folder import fingerprint_of
from tasks.parity.transformers_baseline import TransformersBaseline
from tasks.prompting.model_input import InputConfig, OmniInput
from tasks.stage import Shard, ShardResult
from tests.builders import a_prediction
from tests.tasks.forked_engine import report_path_of

NUM_AUDIO = 40
WITHOUT_VIDEO, DAMAGED, AUDIO_ALONE = 7, 9, 12
INPUT = InputConfig(min_pixels=64 * 64, max_pixels=64 * 64)
CONFIG = InferConfig(max_tokens=448)
EAGER_COMMITS = InferResources(cpu_threads=1, commit_seconds=0, num_decoders=1, max_requests=16)
REPOSITORY = Path(__file__).parents[2]
OnLine = Callable[[int, str], None]


@dataclass(frozen=True)
class Run:
    store: Store
    samples: list[SampleRecord]
    model_path: Path
    log: list[str] = field(default_factory=list)

    @property
    def expected(self) -> dict[str, str]:
        return expected_items(self.samples)

    @property
    def variant(self) -> Variant:
        return variant_of(self.store, CONFIG, INPUT, fingerprint_of(self.model_path))

    def infer(self) -> ShardResult:
        return infer_missing(*self.arguments())

    def arguments(self, model_path: Path | None = None) -> tuple:  # type: ignore[type-arg]
        by_id = {sample.segment_id: sample for sample in self.samples}
        shard = Shard(name="1 of 1", expected=self.expected)
        path = model_path or self.model_path
        return shard, by_id, path, CONFIG, INPUT, EAGER_COMMITS, self.variant

    def predictions(self) -> list[PredictionRecord]:
        rows = self.variant.read(PredictionRecord, self.expected)
        return sorted(rows, key=lambda row: row.segment_id)

    def rejected(self) -> dict[str, str]:
        rows = self.variant.read(RejectedRecord, self.expected)
        return {row.item_id: row.reason for row in rows}


def prepared(folder: Path, toy_samples, tiny_omni: Path) -> Run:  # type: ignore[no-untyped-def]
    """Write good samples, two with damaged video, one of which has no audio, and a long one."""
    store = Store(str(folder / "a store"))
    samples = toy_samples(store, NUM_AUDIO + 2)
    for damaged in (samples[WITHOUT_VIDEO], samples[DAMAGED]):
        store.write_bytes(damaged.video_path, b"\0\0\0\x18ftypisom not a video")
    samples[AUDIO_ALONE] = replace(samples[AUDIO_ALONE], video_path=None)
    samples[11] = replace(samples[11], transcript="and then I " * 150)
    return Run(store, samples, tiny_omni)


class ForkedEngine:
    """A real engine in another process, which runs every job in a fork that can be killed."""

    def __init__(self, folder: Path, model_path: Path) -> None:
        self.model_path = model_path
        path, script = folder / "job.json", Path(__file__).with_name("forked_engine.py")
        path.write_text(self.job(Store(str(folder)), "none", folder).model_dump_json())
        self.process = subprocess.Popen(
            [sys.executable, str(script), str(path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )  # fmt: skip
        while self.read() != "open":
            pass

    def read(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the engine's process is gone"
        return line.strip()

    def job(self, store: Store, variant_id: str, folder: Path, *alone: str) -> InferJob:
        return InferJob(
            store_url=store.url, variant_id=variant_id, samples_path=folder / "samples.parquet",
            claims_url=str(folder / "claims"), journal_path=folder / "journal",
            job_path=folder / "fork.json", suspects=alone, alone=alone, shard_size=4,
            max_failures=99, model_path=self.model_path, dtype="float32",
            max_tokens=CONFIG.max_tokens or 0, input=INPUT, resources=EAGER_COMMITS,
        )  # fmt: skip

    def predict(  # type: ignore[no-untyped-def]
        self, run: Run, folder: Path, kill_when, items: Sequence[str], alone: Sequence[str] = ()
    ) -> int:
        """Run a fork over a run's items and kill it as soon as ``kill_when`` returns true."""
        folder.mkdir()
        rows = [sample for sample in run.samples if sample.segment_id in items]
        write_parquet(to_table(SampleRecord, rows), folder / "samples.parquet")
        job = self.job(run.store, run.variant.variant_id, folder, *alone)
        return self.run_job(job, kill_when)

    def run_job(self, job: InferJob, kill_when: Callable[[], bool] = lambda: False) -> int:
        assert self.process.stdin is not None
        self.process.stdin.write(job.model_dump_json() + "\n")
        process_id = int(self.read())
        while not kill_when() and is_running(process_id):
            time.sleep(0.001)
        with suppress(ProcessLookupError):
            os.kill(process_id, signal.SIGKILL)
        return int(self.read())

    def run_engines(
        self, _command: object, jobs: Sequence[InferJob], _variant: Variant, on_line: OnLine
    ) -> list[Crash]:
        """Run a stage's job in a fork, in place of a child process that opens the model again."""
        (job,) = jobs
        assert self.run_job(job) == 0
        for line in report_path_of(job.job_path).read_text().splitlines():
            on_line(0, line)
        return []


@pytest.fixture(scope="module")
def forked(tmp_path_factory, tiny_omni) -> Iterator[ForkedEngine]:  # type: ignore[no-untyped-def]
    engine = ForkedEngine(tmp_path_factory.mktemp("forked"), tiny_omni)
    with engine.process as process:
        yield engine
        process.kill()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, forked: ForkedEngine, toy_samples, tiny_omni) -> Run:  # type: ignore[no-untyped-def]
    """One run of the real engine over all samples, used by the tests below."""
    run = prepared(tmp_path_factory.mktemp("undisturbed"), toy_samples, tiny_omni)
    handler = BufferingHandler(1_000)
    LOGGER.addHandler(handler)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tasks.inference.engines.run_engines", forked.run_engines)
        assert run.infer() == ShardResult(num_cached=0, num_computed=NUM_AUDIO + 2)
    LOGGER.removeHandler(handler)
    run.log.extend(record.getMessage() for record in handler.buffer)
    return run


@pytest.mark.slow
def test_the_common_instruction_is_computed_once(undisturbed: Run) -> None:
    (line,) = [line for line in undisturbed.log if "came from the prefix cache" in line]
    percent = int(line.split("%")[0].removeprefix("infer: "))
    tokens = [row.num_text_tokens + row.num_video_tokens + row.num_audio_tokens
              for row in undisturbed.predictions()]  # fmt: skip
    assert percent == pytest.approx(100 * 64 * len(tokens) / sum(tokens), abs=1)


@pytest.mark.slow
def test_every_segment_has_a_prediction_or_a_reason(undisturbed: Run) -> None:
    bad = {undisturbed.samples[index].segment_id for index in (DAMAGED, 11)}
    assert {row.segment_id for row in undisturbed.predictions()} == set(undisturbed.expected) - bad
    reasons = undisturbed.rejected()
    assert set(reasons) == bad
    assert "video cannot be decoded" in reasons[undisturbed.samples[DAMAGED].segment_id]
    assert "too long" in reasons[undisturbed.samples[11].segment_id]
    assert "and then I" not in reasons[undisturbed.samples[11].segment_id]


@pytest.mark.slow
def test_vllm_predicts_as_transformers_does(undisturbed: Run) -> None:
    baseline = TransformersBaseline(undisturbed.model_path)
    predictions = {row.segment_id: row for row in undisturbed.predictions()}
    spread = {round(row.p_ah, 4) for row in predictions.values()}
    assert len(spread) > NUM_AUDIO / 2, "the predictions must differ for this test to mean anything"
    for sample in undisturbed.samples:
        if row := predictions.get(sample.segment_id):
            expected = baseline.predict(decoded(undisturbed.store, sample))
            assert row.p_ah == pytest.approx(expected.p_ah, abs=1e-4)
            assert row.answer_mass == pytest.approx(expected.answer_mass, abs=1e-4)
            assert row.num_text_tokens == expected.token_counts.num_text_tokens
            assert row.num_video_tokens == expected.token_counts.num_video_tokens
            assert row.num_audio_tokens == expected.token_counts.num_audio_tokens
            assert row.has_audio == (row.num_audio_tokens > 0) == (sample.audio_path is not None)
            assert row.has_video == (row.num_video_tokens > 0)
            assert row.has_video != (
                sample in (undisturbed.samples[WITHOUT_VIDEO], undisturbed.samples[AUDIO_ALONE])
            )
    assert any("1 were predicted without their video and 0" in line for line in undisturbed.log)


def decoded(store: Store, sample: SampleRecord) -> OmniInput:
    inputs = DecodeSample(store_url=store.url, config=INPUT)(sample)
    assert isinstance(inputs, OmniInput)
    return inputs


@pytest.mark.slow
def test_a_second_run_opens_no_model_and_writes_no_row(undisturbed: Run, tmp_path: Path) -> None:
    before = stored_files(undisturbed.store)
    state = infer_shard.fn(*undisturbed.arguments(model_path=tmp_path / "no model"))
    assert state.name == "Cached"
    assert state.data == ShardResult(num_cached=NUM_AUDIO + 2, num_computed=0)
    assert stored_files(undisturbed.store) == before


@pytest.mark.slow
def test_a_run_killed_five_times_ends_in_the_same_table_and_predicts_nothing_twice(  # type: ignore[no-untyped-def]
    undisturbed: Run, forked: ForkedEngine, tmp_path: Path, toy_samples, tiny_omni
) -> None:
    run = prepared(tmp_path, toy_samples, tiny_omni)
    done, dice = tmp_path / "a store" / run.variant.path / "done", random.Random(5)
    for kill in range(6):
        pending, num_done = run.variant.pending(run.expected), number_in(done)
        enough = num_done + dice.randrange(1, 7) if kill < 5 else 99
        moment = dice.uniform(0, 0.02)  # somewhere between a commit and the one after the next
        status = forked.predict(
            run, tmp_path / f"{kill}",
            lambda: number_in(done) >= enough and (time.sleep(moment) or True), pending,  # noqa: B023
        )  # fmt: skip
        assert status == (-signal.SIGKILL if kill < 5 else 0)
        started = journalled(tmp_path / f"{kill}" / "journal", "started")
        assert set(started) <= set(pending), "only missing items are predicted"
        lost = set(started) - run.variant.finished(run.expected)
        assert len(lost) <= 3 * 16 + 2
    assert run.variant.pending(run.expected) == []
    assert_same(run.predictions(), undisturbed.predictions())
    assert run.rejected() == undisturbed.rejected()


@pytest.mark.slow
def test_a_segment_that_crashes_the_engine_is_rejected_and_the_others_are_predicted(  # type: ignore[no-untyped-def]
    undisturbed: Run, forked: ForkedEngine, tmp_path: Path, toy_samples, tiny_omni
) -> None:
    run = prepared(tmp_path, toy_samples, tiny_omni)
    deadly, attempts, rejected = run.samples[20].segment_id, [], {}

    def predict(items: Sequence[str], alone: Sequence[str]) -> list[Crash]:
        folder = tmp_path / f"{len(attempts)}"
        attempts.append(alone)
        journal = folder / "journal"
        status = forked.predict(run, folder, lambda: deadly in in_flight(journal), items, alone)
        died = Crash(error=CrashError(f"signal {-status}"), in_flight=in_flight(journal))
        return [died] if status else []

    def pending() -> list[str]:
        return [item for item in run.variant.pending(run.expected) if item not in rejected]

    predict_all(pending, predict, rejected.update)
    assert set(rejected) == {deadly}
    assert len(attempts) == 3
    assert deadly in attempts[1]
    expected = [row for row in undisturbed.predictions() if row.segment_id != deadly]
    assert_same(run.predictions(), expected)


def assert_same(rows: Sequence[PredictionRecord], expected: Sequence[PredictionRecord]) -> None:
    """Compare tables up to rounding, which depends on the size of batches."""
    exact = {"logp_yes": 0.0, "logp_no": 0.0, "p_ah": 0.0, "answer_mass": 0.0}
    assert [replace(row, **exact) for row in rows] == [replace(row, **exact) for row in expected]
    for row, other in zip(rows, expected, strict=True):
        for name in exact:
            assert getattr(row, name) == pytest.approx(getattr(other, name), abs=1e-6)


def number_in(folder: Path) -> int:
    return len(list(folder.iterdir())) if folder.is_dir() else 0


def journalled(path: Path, event: str) -> list[str]:
    lines = path.read_text().splitlines() if path.is_file() else []
    return [item for kind, item in map(json.loads, lines) if kind == event]


def is_running(process_id: int) -> bool:
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def stored_files(store: Store) -> dict[str, int]:
    paths = (path for path in Path(store.root).rglob("*") if path.is_file())
    return {str(path): path.stat().st_mtime_ns for path in paths}


def test_too_many_rejected_segments_stop_every_run(tmp_path, toy_samples) -> None:  # type: ignore[no-untyped-def]
    run = Run(Store(str(tmp_path)), toy_samples(Store(str(tmp_path)), 24), tmp_path)
    rejected = [
        RejectedRecord(item_id=item, stage="infer", reason="too long" if n else "damaged")
        for n, item in enumerate(run.expected)
    ]
    variant = variant_of(run.store, CONFIG, INPUT, "fingerprint")

    def infer() -> ShardResult:
        shard = Shard(name="1 of 1", expected=run.expected)
        return infer_missing(shard, {}, tmp_path, CONFIG, INPUT, EAGER_COMMITS, variant)

    for row in rejected[:11]:
        variant.commit([ItemOutput(item_id=row.item_id, rows=(row,))], run.expected)
    for _ in range(2):
        with pytest.raises(StageError, match=r"11 of 24 segments are rejected, .* for: too long"):
            infer()
    for row in rejected[11:]:
        variant.commit([ItemOutput(item_id=row.item_id, rows=(row,))], run.expected)
    with pytest.raises(StageError, match="24 of 24 segments are rejected, expected at most 10"):
        infer()
    tolerant = CONFIG.model_copy(update={"max_failed_fraction": 1.0})
    assert variant_of(run.store, tolerant, INPUT, "fingerprint").variant_id == variant.variant_id


def test_segments_without_their_damaged_audio_count_as_failures_in_the_end(  # type: ignore[no-untyped-def]
    tmp_path: Path, toy_samples
) -> None:
    store = Store(str(tmp_path))
    samples = toy_samples(store, 14)
    variant, expected = variant_of(store, CONFIG, INPUT, "fingerprint"), expected_items(samples)
    rows = [replace(prediction(sample), has_audio=False) for sample in samples]
    outputs = [ItemOutput(item_id=row.segment_id, rows=(row,)) for row in rows]
    variant.commit(outputs, expected)
    shard, by_id = Shard(name="1 of 1", expected=expected), {s.segment_id: s for s in samples}
    with pytest.raises(
        StageError, match=r"0 of 14 .* rejected, 12 others .* damaged video or audio"
    ):
        infer_missing(shard, by_id, tmp_path, CONFIG, INPUT, EAGER_COMMITS, variant)
    without_audio = INPUT.model_copy(update={"audio": False})
    infer_missing(shard, by_id, tmp_path, CONFIG, without_audio, EAGER_COMMITS, variant)


def prediction(sample: SampleRecord, mass: float = 0.7) -> PredictionRecord:
    return a_prediction(sample.segment_id, answer_mass=mass)


def test_segments_longer_than_the_engine_takes_are_rejected_before_it_opens(  # type: ignore[no-untyped-def]
    tmp_path: Path, toy_samples, tiny_omni
) -> None:
    run = Run(Store(str(tmp_path)), toy_samples(Store(str(tmp_path)), 11), tiny_omni)
    shard, by_id, path, _, *others = run.arguments()
    with pytest.raises(ConfigError, match=r"The engine takes 64 tokens, but more .* than the 10"):
        infer_missing(shard, by_id, path, CONFIG.model_copy(update={"max_tokens": 64}), *others)


@pytest.mark.parametrize("count", [1, 2])
def test_an_overlong_segment_that_may_be_rejected_is_no_error_even_alone(  # type: ignore[no-untyped-def]
    tmp_path: Path, toy_samples, tiny_omni, caplog, monkeypatch, count: int
) -> None:
    run = Run(Store(str(tmp_path)), toy_samples(Store(str(tmp_path)), count), tiny_omni)
    shard, by_id, path, _, *others = run.arguments()
    tight, calls = CONFIG.model_copy(update={"max_tokens": 64}), []
    monkeypatch.setattr(
        "tasks.inference.engines.run_engines", lambda *arguments: calls.append(arguments) or []
    )
    with pytest.raises(StageError, match=f"{count} of {count} segments have no prediction"):
        infer_missing(shard, by_id, path, tight, *others)  # from engines that do nothing
    assert f"{count} of {count} segments have more than the 64 tokens" in caplog.text
    assert len(calls) == 1


def test_predictions_with_little_answer_mass_are_counted_in_a_warning(  # type: ignore[no-untyped-def]
    tmp_path: Path, toy_samples, caplog
) -> None:
    store = Store(str(tmp_path))
    samples = toy_samples(store, 4)
    variant, expected = variant_of(store, CONFIG, INPUT, "fingerprint"), expected_items(samples)
    for number, sample in enumerate(samples):
        row = prediction(sample, 0.3 * number)
        variant.commit([ItemOutput(item_id=sample.segment_id, rows=(row,))], expected)
    for minimum, message in (
        (0.5, "in 2 of 4 predictions Yes and No have less than 50%"),
        (0.0, ""),
    ):
        config = CONFIG.model_copy(update={"min_answer_mass": minimum})
        shard = Shard(name="1 of 1", expected=expected)
        infer_missing(shard, {}, tmp_path, config, INPUT, EAGER_COMMITS, variant)
        assert message in caplog.text
        assert bool(message) == ("the model may not know" in caplog.text)
        caplog.clear()


def test_settings_input_and_model_each_make_another_variant(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    base = variant_of(store, CONFIG, INPUT, "fingerprint")
    others = [
        variant_of(store, InferConfig(dtype="bfloat16", max_tokens=448), INPUT, "fingerprint"),
        variant_of(store, CONFIG, INPUT.model_copy(update={"audio": False}), "fingerprint"),
        variant_of(store, CONFIG, INPUT, "another fingerprint"),
    ]
    assert len({base.variant_id, *(other.variant_id for other in others)}) == 4
    assert variant_of(store, CONFIG, INPUT, "fingerprint").variant_id == base.variant_id
