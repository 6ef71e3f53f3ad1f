import pytest
from pydantic import ValidationError

from tasks.training.settings import TrainingSettings


def test_lora_trains_attention_and_experts_by_default():
    assert TrainingSettings().trained_parts == ("attention", "experts")
    assert TrainingSettings(parts=("vision",)).trained_parts == ("vision",)


def test_full_fine_tuning_freezes_the_towers_by_default():
    parts = TrainingSettings(method="full").trained_parts
    assert {"attention", "experts", "router", "embedding", "norms", "head"} < set(parts)
    assert not {"vision", "audio", "projector"} & set(parts)


def test_lora_cannot_train_parts_without_linear_layers():
    with pytest.raises(ValidationError, match="LoRA cannot train norms: use method full"):
        TrainingSettings(parts=("attention", "norms"))
    assert TrainingSettings(method="full", parts=("norms",)).trained_parts == ("norms",)


def test_empty_parts_are_rejected():
    with pytest.raises(ValidationError, match="parts is empty"):
        TrainingSettings(parts=())


def test_ms_swift_selects_checkpoints_by_the_loss_only():
    with pytest.raises(ValidationError, match=r"metric is macro_f1: set metric = loss"):
        TrainingSettings(trainer="ms-swift")
    TrainingSettings(trainer="ms-swift", metric="loss")
    TrainingSettings(trainer="ms-swift", validation=False)
