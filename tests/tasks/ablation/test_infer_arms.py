import logging
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from storage.errors import ConfigError, StageError
from storage.records import ParticipantId, RejectedRecord, SampleRecord
from storage.results import PredictionRecord
from storage.store.store import Store
from storage.store.variant import ItemOutput
from tasks.ablation import infer_arms
from tasks.ablation.arms import ArmSamples, arms_of, with_samples
from tasks.ablation.infer_arms import infer_missing
from tasks.inference.samples import expected_items
from tasks.inference.settings import InferConfig, InferResources
from tasks.model.model_folder import fingerprint_of
from tasks.prompting.model_input import InputConfig
from tests.builders import a_prediction

INPUT = InputConfig(min_pixels=64 * 64, max_pixels=64 * 64)
CONFIG = InferConfig()
RESOURCES = InferResources(cpu_threads=1)


def commit_predictions(arm: ArmSamples) -> list[PredictionRecord]:
    """Commit predictions that no model made, as a run would commit its own."""
    rows = [a_prediction(row.segment_id, answer_mass=0.0) for row in arm.samples]
    outputs = [ItemOutput(item_id=row.segment_id, rows=(row,)) for row in rows]
    arm.variant.commit(outputs, expected_items(arm.samples))
    return rows


@pytest.mark.slow
def test_one_open_model_predicts_what_every_arm_lacks(
    tmp_path: Path, toy_samples, tiny_omni: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(str(tmp_path / "store"))
    samples: list[SampleRecord] = [
        replace(row, participant_id=ParticipantId(f"p{number % 3}"))
        for number, row in enumerate(toy_samples(store, 6))
    ]
    fingerprint = fingerprint_of(tiny_omni)
    arms = [with_samples(arm, samples, store, CONFIG, fingerprint) for arm in arms_of(INPUT)]
    committed = commit_predictions(arms[0])
    with caplog.at_level(logging.INFO, "waver"):
        num_computed = infer_missing(arms, store, tiny_omni, CONFIG, RESOURCES)
    assert num_computed == sum(len(arm.samples) for arm in arms[1:]) == 5 * 6 + 2 * 5
    assert caplog.text.count("opening the model") == 1
    assert arms[0].variant.read(PredictionRecord, expected_items(arms[0].samples)) == committed
    for arm in arms[1:]:
        rows = arm.variant.read(PredictionRecord, expected_items(arm.samples))
        assert len(rows) == len(arm.samples)
        with_audio = {row.segment_id for row in arm.samples if row.audio_path}
        for row in rows:
            assert (row.num_video_tokens > 0) == ("video" in arm.arm.modalities)
            assert (row.num_audio_tokens > 0) == (
                "audio" in arm.arm.modalities and row.segment_id in with_audio
            )
    assert infer_missing(arms, store, tmp_path / "no model", CONFIG, RESOURCES) == 0


def two_arms(store: Store, samples: list[SampleRecord]) -> tuple[ArmSamples, ArmSamples]:
    """The arm with all modalities, and the control."""
    arms = arms_of(INPUT)
    full, control = (with_samples(arm, samples, store, CONFIG, "m") for arm in (arms[0], arms[-1]))
    return full, control


@pytest.mark.slow
def test_a_segment_that_kills_the_engine_is_rejected_and_all_others_are_predicted(
    tmp_path: Path, toy_samples, tiny_omni: Path, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    caplog.set_level(logging.INFO, "waver")
    store = Store(str(tmp_path / "store"))
    arms = two_arms(store, toy_samples(store, 4))
    deadly = arms[1].samples[2].segment_id
    child = str(Path(__file__).with_name("toy_child.py"))
    monkeypatch.setattr(infer_arms, "CHILD_COMMAND", (sys.executable, child, deadly))
    assert infer_missing(arms, store, tiny_omni, CONFIG, RESOURCES) == 8
    full, control = (expected_items(arm.samples) for arm in arms)
    assert arms[0].variant.finished(full) == set(full)
    (rejected,) = arms[1].variant.read(RejectedRecord, control)
    assert rejected.item_id == deadly
    assert rejected.stage == "infer"
    assert rejected.reason.startswith("the engine died on it twice: The child process")
    assert "/" not in rejected.reason, "rows do not contain local paths"
    assert "8 of 8 segments" in caplog.text
    predicted = {row.segment_id for row in arms[1].variant.read(PredictionRecord, control)}
    assert predicted == set(control) - {deadly}
    assert infer_missing(arms, store, tiny_omni, CONFIG, RESOURCES) == 0


def test_an_arm_with_too_many_rejected_segments_stops_the_ablation(
    tmp_path: Path, toy_samples
) -> None:
    store = Store(str(tmp_path))
    full, _ = two_arms(store, toy_samples(store, 11))
    expected = expected_items(full.samples)
    rows = [RejectedRecord(item_id=item, stage="infer", reason="bad") for item in expected]
    outputs = [ItemOutput(item_id=row.item_id, rows=(row,)) for row in rows]
    full.variant.commit(outputs, expected)
    with pytest.raises(StageError, match=r"11 of 11 segments are rejected, .*often for: bad\. Fix"):
        infer_missing([full], store, tmp_path / "no model", CONFIG, RESOURCES)


def test_an_arm_with_segments_longer_than_max_tokens_is_rejected_before_the_engine_opens(
    tmp_path: Path, toy_samples, tiny_omni: Path
) -> None:
    store = Store(str(tmp_path))
    full, _ = two_arms(store, toy_samples(store, 11))
    short = CONFIG.model_copy(update={"max_tokens": 64})
    with pytest.raises(ConfigError, match=r"in the arm 'VAT' .* than the 10 .*max_tokens"):
        infer_missing([full], store, tiny_omni, short, RESOURCES)
