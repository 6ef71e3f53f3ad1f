import pytest
from pydantic import ValidationError

from tasks.training.settings import TrainingSettings


def test_lora_trains_attention_and_experts_unless_told_otherwise():
    assert TrainingSettings().trained_parts == ("attention", "experts")
    assert TrainingSettings(parts=("vision",)).trained_parts == ("vision",)


def test_full_training_leaves_the_towers_frozen_unless_told_otherwise():
    parts = TrainingSettings(method="full").trained_parts
    assert {"attention", "experts", "router", "embedding", "norms", "head"} < set(parts)
    assert not {"vision", "audio", "projector"} & set(parts)


def test_what_has_no_linear_layer_cannot_be_trained_by_lora():
    with pytest.raises(ValidationError, match="LoRA cannot train norms: use method full"):
        TrainingSettings(parts=("attention", "norms"))
    assert TrainingSettings(method="full", parts=("norms",)).trained_parts == ("norms",)


def test_no_parts_at_all_is_a_mistake():
    with pytest.raises(ValidationError, match="parts is empty"):
        TrainingSettings(parts=())


def test_ms_swift_chooses_by_the_loss_alone():
    with pytest.raises(ValidationError, match=r"metric is macro_f1: set metric = loss"):
        TrainingSettings(trainer="ms-swift")
    TrainingSettings(trainer="ms-swift", metric="loss")
    TrainingSettings(trainer="ms-swift", validation=False)
