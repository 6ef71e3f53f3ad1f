import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from storage.errors import StageError, StoreError
from storage.records import RejectedRecord, SampleRecord, SegmentId
from storage.results import PredictionRecord
from storage.store import Store
from storage.variant import Variant
from tasks.infer import (
    InferConfig,
    InferResources,
    infer_missing,
    infer_samples,
    infer_shard,
    variant_of,
    wanted_of,
)
from tasks.omni.checkpoint import fingerprint_of
from tasks.omni.inputs import InputConfig, build_input
from tasks.omni.reference import Reference
from tasks.stage import Shard, ShardResult

NUM_SOUND = 40
INPUT = InputConfig(min_pixels=64 * 64, max_pixels=64 * 64)
CONFIG = InferConfig(max_tokens=448)
EAGER_COMMITS = InferResources(cpu_threads=1, commit_seconds=0)


@dataclass(frozen=True)
class Run:
    store: Store
    samples: list[SampleRecord]
    model_path: Path

    @property
    def wanted(self) -> dict[str, str]:
        return wanted_of(self.samples)

    @property
    def variant(self) -> Variant:
        return variant_of(self.store, CONFIG, INPUT, fingerprint_of(self.model_path))

    def infer(self) -> ShardResult:
        return infer_missing(*self.arguments())

    def arguments(self, model_path: Path | None = None) -> tuple:  # type: ignore[type-arg]
        by_id = {sample.segment_id: sample for sample in self.samples}
        shard = Shard(name="1 of 1", wanted=self.wanted)
        path = model_path or self.model_path
        return shard, by_id, path, CONFIG, INPUT, EAGER_COMMITS, self.variant

    def predictions(self) -> list[PredictionRecord]:
        rows = self.variant.read(PredictionRecord, self.wanted)
        return sorted(rows, key=lambda row: row.segment_id)

    def rejected(self) -> dict[str, str]:
        rows = self.variant.read(RejectedRecord, self.wanted)
        return {row.item_id: row.reason for row in rows}


def prepared(folder: Path, toy_samples, tiny_omni: Path) -> Run:  # type: ignore[no-untyped-def]
    """Write good samples, one whose picture is damaged, and one with too many words."""
    store = Store(str(folder / "a store"))
    samples = toy_samples(store, NUM_SOUND + 2)
    store.write_bytes(samples[7].picture_path, b"\0\0\0\x18ftypisom not a picture")
    samples[11] = replace(samples[11], words="and then I " * 150)
    return Run(store, samples, tiny_omni)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, toy_samples, tiny_omni) -> Run:  # type: ignore[no-untyped-def]
    """One run over all samples by the real engine, shared by the tests below."""
    run = prepared(tmp_path_factory.mktemp("undisturbed"), toy_samples, tiny_omni)
    assert run.infer() == ShardResult(num_cached=0, num_made=NUM_SOUND + 2)
    return run


@pytest.mark.slow
def test_every_segment_has_a_probability_or_a_reason(undisturbed: Run) -> None:
    bad = {undisturbed.samples[index].segment_id for index in (7, 11)}
    assert {row.segment_id for row in undisturbed.predictions()} == set(undisturbed.wanted) - bad
    reasons = undisturbed.rejected()
    assert set(reasons) == bad
    assert "picture cannot be decoded" in reasons[undisturbed.samples[7].segment_id]
    assert "too long" in reasons[undisturbed.samples[11].segment_id]
    assert "and then I" not in reasons[undisturbed.samples[11].segment_id]


@pytest.mark.slow
def test_vllm_answers_as_transformers_does(undisturbed: Run) -> None:
    reference = Reference(undisturbed.model_path)
    predictions = {row.segment_id: row for row in undisturbed.predictions()}
    spread = {round(row.p_ah, 4) for row in predictions.values()}
    assert len(spread) > NUM_SOUND / 2, "the samples' answers must differ for this test to tell"
    for sample in undisturbed.samples:
        if row := predictions.get(sample.segment_id):
            expected = reference.answer(opened(undisturbed.store, sample))
            assert row.p_ah == pytest.approx(expected.p_ah, abs=1e-4)
            assert row.answer_mass == pytest.approx(expected.answer_mass, abs=1e-4)
            assert row.num_text_tokens == expected.census.num_text_tokens
            assert row.num_picture_tokens == expected.census.num_picture_tokens
            assert row.num_sound_tokens == expected.census.num_sound_tokens
            assert (row.num_sound_tokens > 0) == (sample.sound_path is not None)


def opened(store: Store, sample: SampleRecord):  # type: ignore[no-untyped-def]
    sound = store.open(sample.sound_path) if sample.sound_path else None
    picture = store.open(sample.picture_path)
    return build_input(INPUT, picture=picture, sound=sound, words=sample.words)


@pytest.mark.slow
def test_a_second_run_opens_no_model_and_writes_no_row(undisturbed: Run, tmp_path: Path) -> None:
    before = stored_files(undisturbed.store)
    state = infer_shard.fn(*undisturbed.arguments(model_path=tmp_path / "no model"))
    assert state.name == "Cached"
    assert state.data == ShardResult(num_cached=NUM_SOUND + 2, num_made=0)
    assert stored_files(undisturbed.store) == before


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_run_ends_in_the_same_table(  # type: ignore[no-untyped-def]
    undisturbed: Run, tmp_path: Path, toy_samples, tiny_omni
) -> None:
    run = prepared(tmp_path, toy_samples, tiny_omni)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(run.infer)
        done = tmp_path / "a store" / run.variant.path / "done"
        wait_until(lambda: (done.is_dir() and len(list(done.iterdir())) >= 5) or first.done())
        os.kill(child_working_in(tmp_path), signal.SIGKILL)
        with pytest.raises(StageError, match="killed by signal 9"):
            first.result()
    kept = {marker.name for marker in done.iterdir()}
    missing = run.variant.pending(run.wanted)
    assert 0 < len(missing) < len(run.samples)
    tables = tmp_path / "a store" / run.variant.path / "PredictionRecord"
    # a table without its marker is no finished part: the kill came between the two
    damaged = next(path for path in tables.iterdir() if f"{path.stem}.json" in kept)
    damaged.write_bytes(damaged.read_bytes()[:-1])
    again = Run(Store(run.store.url), run.samples, run.model_path)
    assert again.infer().num_made == len(missing) + 1
    assert kept < {marker.name for marker in done.iterdir()}
    assert again.predictions() == undisturbed.predictions()
    assert again.rejected().keys() == undisturbed.rejected().keys()


def wait_until(true) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + 200
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def child_working_in(folder: Path) -> int:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        command = path.read_bytes().decode().split("\0")
        if "tasks.omni.infer_child" in command and any(str(folder) in part for part in command):
            return int(path.parent.name)
    raise AssertionError("no child process is there to be killed")


def stored_files(store: Store) -> dict[str, int]:
    paths = (path for path in Path(store.root).rglob("*") if path.is_file())
    return {str(path): path.stat().st_mtime_ns for path in paths}


class Unasked:
    """An engine that must not be asked: its questions are drawn, but never answered."""

    def answers(self, questions) -> Iterator[tuple]:  # type: ignore[no-untyped-def,type-arg]
        yield from questions


def test_a_segment_whose_file_is_gone_stops_the_run_with_the_way_out(  # type: ignore[no-untyped-def]
    tmp_path: Path, toy_samples
) -> None:
    store = Store(str(tmp_path))
    samples = toy_samples(store, 1)
    store.remove(samples[0].sound_path)
    with pytest.raises(StoreError, match="--from segment"):
        list(infer_samples(samples, Unasked(), store, INPUT, 1))  # type: ignore[arg-type]


def test_settings_input_and_model_each_make_another_variant(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    base = variant_of(store, CONFIG, INPUT, "fingerprint")
    others = [
        variant_of(store, InferConfig(dtype="bfloat16", max_tokens=448), INPUT, "fingerprint"),
        variant_of(store, CONFIG, INPUT.model_copy(update={"sound": False}), "fingerprint"),
        variant_of(store, CONFIG, INPUT, "another fingerprint"),
    ]
    assert len({base.variant_id, *(other.variant_id for other in others)}) == 4
    assert variant_of(store, CONFIG, INPUT, "fingerprint").variant_id == base.variant_id


def test_what_changes_only_speed_is_no_setting_of_content() -> None:
    assert not set(InferResources.model_fields) & set(InferConfig.model_fields)
    with pytest.raises(ValueError, match="Extra inputs are not permitted"):
        InferConfig(max_requests=4)  # type: ignore[call-arg]


def test_changed_words_or_media_are_asked_again(toy_samples, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (sample,) = toy_samples(Store(str(tmp_path)), 1)
    changed = replace(sample, content_digest="other", segment_id=SegmentId(sample.segment_id))
    assert wanted_of([sample]) != wanted_of([changed])
