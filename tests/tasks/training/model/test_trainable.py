import pytest
import torch

from storage.errors import ConfigError, ModelError
from tasks.training.model.trainable import (
    count_parameters,
    count_trained,
    open_for_training,
    part_of,
)
from tasks.training.settings import TrainingSettings
from tests.tasks.training.together import loss_and_gradients


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("model.layers.0.self_attn.q_norm.weight", "attention"),
        ("base_model.model.model.layers.3.self_attn.o_proj.lora_A.default.weight", "attention"),
        ("model.layers.0.mlp.experts.gate_up_proj", "experts"),
        ("base_model.model.model.layers.0.mlp.experts.base_layer.lora_B.default.weight", "experts"),
        ("model.layers.0.mlp.gate.weight", "router"),
        ("model.layers.0.mlp.gate_proj.weight", "mlp"),
        ("model.layers.0.post_attention_layernorm.weight", "norms"),
        ("model.norm.weight", "norms"),
        ("model.embed_tokens.weight", "embedding"),
        ("lm_head.weight", "head"),
        ("visual.blocks.0.norm1.weight", "vision"),
        ("visual.merger_list.0.mlp.0.weight", "projector"),
        ("audio_tower.proj2.bias", "projector"),
        ("audio_tower.layers.0.self_attn.q_proj.weight", "audio"),
    ],
)
def test_every_parameter_belongs_to_a_part(name, part):
    assert part_of(name) == part


def test_a_parameter_of_another_architecture_is_rejected():
    with pytest.raises(ModelError, match="no known part of Qwen3-Omni"):
        part_of("transformer.h.0.weight")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        (TrainingSettings(precision="float32"), {"attention", "experts"}),
        (TrainingSettings(precision="bfloat16", parts=("router", "head")), {"router", "head"}),
        (
            TrainingSettings(parts=("vision", "audio", "projector")),
            {"vision", "audio", "projector"},
        ),
    ],
)
def test_lora_trains_only_the_named_parts_in_float32(tiny_omni, settings, parts):
    opened = open_for_training(tiny_omni, settings)
    counts = count_trained(opened.trained)
    assert set(counts) == parts
    trained = [(n, p) for n, p in opened.trained.named_parameters() if p.requires_grad]
    assert all("lora_" in name for name, _ in trained)
    assert {str(parameter.dtype) for _, parameter in trained} == {"torch.float32"}
    assert sum(counts.values()) < count_parameters(opened.trained) / 4


@pytest.mark.slow
def test_the_number_of_lora_parameters_follows_from_rank_and_shapes(tiny_omni):
    opened = open_for_training(tiny_omni, TrainingSettings(rank=2, parts=("experts",)))
    text = opened.top.config.thinker_config.text_config
    inner, hidden = text.moe_intermediate_size, text.hidden_size
    each = 2 * (hidden + 2 * inner) + 2 * (inner + hidden)
    assert count_trained(opened.trained) == {
        "experts": each * text.num_experts * text.num_hidden_layers
    }


@pytest.mark.slow
def test_full_fine_tuning_trains_the_named_parts_in_float32(tiny_omni):
    settings = TrainingSettings(method="full", precision="bfloat16", parts=("norms", "vision"))
    opened = open_for_training(tiny_omni, settings)
    assert set(count_trained(opened.trained)) == {"norms", "vision"}
    assert {str(p.dtype) for p in opened.trained.parameters()} == {"torch.float32"}


@pytest.mark.slow
def test_a_part_that_the_model_does_not_have_is_an_error(tiny_omni):
    with pytest.raises(ConfigError, match="names mlp, but this model has no such"):
        open_for_training(tiny_omni, TrainingSettings(method="full", parts=("mlp", "head")))


@pytest.mark.gpu
@pytest.mark.parametrize("method", ["lora", "full"])
def test_loss_and_gradients_on_a_gpu_are_those_on_the_cpu(tiny_omni, method):
    settings = TrainingSettings.model_validate({"method": method, "precision": "float32"})
    (expected_loss, expected), (loss, gradients) = (
        loss_and_gradients(open_for_training(tiny_omni, settings, device=torch.device(name)))
        for name in ("cpu", "cuda")
    )
    assert loss == pytest.approx(expected_loss, rel=1e-4)
    assert len(gradients) == len(expected) > 0
    for gradient, other in zip(gradients, expected, strict=True):
        assert gradient.isfinite().all()
        torch.testing.assert_close(gradient, other, rtol=1e-2, atol=1e-3)
