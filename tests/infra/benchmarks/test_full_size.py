import pytest
import torch

from infra.benchmarks.full_size import (
    build_thinker,
    num_active_parameters,
    num_text_parameters,
    random_row,
)
from tasks.training.model.trainable import part_of


@pytest.fixture(scope="module")
def thinker():
    return build_thinker(torch.device("meta"))


@pytest.mark.slow
def test_the_full_size_model_has_the_parameters_of_its_name(thinker):
    assert num_text_parameters(thinker) / 1e9 == pytest.approx(30.5, abs=0.1)
    assert num_active_parameters(thinker) / 1e9 == pytest.approx(2.7, abs=0.3)
    assert {parameter.device.type for parameter in thinker.parameters()} == {"meta"}
    assert {parameter.dtype for parameter in thinker.model.parameters()} == {torch.bfloat16}
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.slow
def test_every_parameter_of_the_full_size_model_belongs_to_a_part(thinker):
    parts = {part_of(name) for name, _ in thinker.named_parameters()}
    assert {"attention", "experts", "router", "vision", "audio", "projector", "head"} <= parts
    assert "mlp" not in parts


@pytest.mark.slow
def test_a_random_row_has_a_position_for_each_of_its_features(thinker):
    row = random_row(thinker, from_features=True)
    config = thinker.config
    assert len(row["video_features"]) == int((row["input_ids"] == config.video_token_id).sum())
    assert len(row["audio_features"]) == int((row["input_ids"] == config.audio_token_id).sum())
    assert row["video_features"].shape[1] == 4 * 2_048
    media = random_row(thinker, from_features=False)
    assert torch.equal(media["input_ids"], row["input_ids"])
    assert len(media["pixel_values_videos"]) == 4 * len(row["video_features"])
