import json

import pytest
import torch

from storage.errors import StageError
from tasks.training.model import memory
from tasks.training.model.memory import check_memory, estimate, read_model_sizes
from tasks.training.model.trainable import count_parameters, count_trained, open_for_training
from tasks.training.settings import FinetuneResources, TrainingSettings
from tests.tasks.training.together import loss_and_gradients

GIB = 1 << 30
SIZES = {  # of Qwen3-Omni-30B-A3B's thinker (its public config.json)
    "text_config": {
        "hidden_size": 2048, "num_hidden_layers": 48, "num_attention_heads": 32,
        "num_key_value_heads": 4, "head_dim": 128, "num_experts": 128, "num_experts_per_tok": 8,
        "moe_intermediate_size": 768, "vocab_size": 152064,
    },
    "vision_config": {
        "hidden_size": 1152, "intermediate_size": 4304, "depth": 27, "num_heads": 16,
        "out_hidden_size": 2048, "deepstack_visual_indexes": [8, 16, 24],
        "num_position_embeddings": 2304,
    },
    "audio_config": {
        "d_model": 1280, "encoder_attention_heads": 20, "encoder_ffn_dim": 5120,
        "encoder_layers": 32, "output_dim": 2048, "downsample_hidden_size": 480,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def full_size(tiny_omni, tmp_path_factory):
    """The real model's sizes, from a configuration alone."""
    folder = tmp_path_factory.mktemp("full size")
    config = json.loads((tiny_omni / "config.json").read_text())
    for section, sizes in SIZES.items():
        config["thinker_config"][section] |= sizes
    (folder / "config.json").write_text(json.dumps(config))
    return read_model_sizes(folder)


def test_the_full_size_has_its_31_billion_parameters(full_size):
    assert sum(full_size.parameters.values()) == pytest.approx(31.7e9, rel=0.02)
    assert full_size.parameters["experts"] == 48 * 128 * 3 * 768 * 2048


def test_lora_on_attention_fits_one_gpu_and_full_fine_tuning_does_not(full_size):
    lora = TrainingSettings(parts=("attention",))
    small = FinetuneResources(micro_batch_size=1, gradient_checkpointing=True)
    needed = estimate(full_size, lora, small, longest=1_500)
    assert 59 * GIB < needed.weights < 61 * GIB
    assert needed.total < 80 * GIB
    full = estimate(full_size, TrainingSettings(method="full"), small, longest=1_500)
    assert full.total > 400 * GIB


def test_sharded_full_fine_tuning_fits_a_node_of_eight_80_gb_gpus(full_size):
    settings = TrainingSettings(method="full")
    replicated = FinetuneResources(micro_batch_size=1, gradient_checkpointing=True)
    sharded = replicated.model_copy(update={"sharding": "fsdp"})
    free, eight = 79 * GIB, {"longest": 1_500, "num_processes": 8}
    needed = check_memory(full_size, settings, sharded, free=free, **eight)
    parameters = sum(full_size.parameters.values())
    assert needed.weights + needed.optimizer > 16 * parameters / 8 * 0.95
    assert needed.gathered > 2 * parameters / 48 * 2  # two layers in bfloat16
    with pytest.raises(StageError, match=r"fit: resources.finetune.sharding = fsdp"):
        check_memory(full_size, settings, replicated, free=free, **eight)
    alone = estimate(full_size, settings, sharded, longest=1_500)
    assert alone.total > 400 * GIB


def test_merged_experts_of_all_layers_are_in_memory_without_gradient_checkpointing(full_size):
    experts, plain = TrainingSettings(), FinetuneResources(micro_batch_size=1)
    checkpointing = plain.model_copy(update={"gradient_checkpointing": True})
    large, small = (
        estimate(full_size, experts, on, longest=1_500).activations for on in (plain, checkpointing)
    )
    assert large > 54 * GIB
    assert small < 10 * GIB


def test_a_training_that_does_not_fit_is_rejected_with_settings_that_would(full_size):
    plain = FinetuneResources(micro_batch_size=8)
    pattern = r"needs about \d+\.\d GiB \(weights 6\d.* 1500 tokens, but 90\.0 GiB are free: these"
    with pytest.raises(StageError, match=pattern) as error:
        check_memory(full_size, TrainingSettings(), plain, longest=1_500, free=90 * GIB)
    assert "resources.finetune.gradient_checkpointing = true" in str(error.value)
    with pytest.raises(StageError, match=r"no settings fit: use a device with more"):
        check_memory(full_size, TrainingSettings(), plain, longest=1_500, free=8 * GIB)


def test_the_settings_that_the_error_suggests_fit(full_size):
    settings = TrainingSettings()
    on = FinetuneResources(micro_batch_size=8, gradient_checkpointing=True)
    needed = check_memory(full_size, settings, on, longest=1_500, free=90 * GIB)
    assert needed.total <= 90 * GIB


def saved_bytes(opened, num_tokens, batch_size, precision):
    """Bytes that autograd saves for the backward pass, without the model's weights."""
    model = opened.trained.train()
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    saved, references = {}, []

    def record(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            saved[storage.data_ptr()] = storage.nbytes()
            references.append(tensor)
        return tensor

    ids = torch.arange(batch_size * num_tokens).reshape(batch_size, -1) % 600
    with (
        torch.autograd.graph.saved_tensors_hooks(record, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"),
    ):
        model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
    return sum(saved.values())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "precision"), [("lora", "float32"), ("lora", "bfloat16"), ("full", "bfloat16")]
)
def test_the_estimate_is_near_the_measured_bytes_on_the_small_base(tiny_omni, method, precision):
    settings = TrainingSettings.model_validate({"method": method, "precision": precision})
    resources = FinetuneResources(micro_batch_size=4)
    opened = open_for_training(tiny_omni, settings, resources)
    sizes = read_model_sizes(tiny_omni)
    assert sum(sizes.parameters.values()) == count_parameters(opened.trained)
    needed = estimate(sizes, settings, resources, longest=400)
    assert needed.optimizer == sum(count_trained(opened.trained).values()) * 12
    measured = saved_bytes(opened, 400, 4, precision)
    assert 0.9 * measured < needed.activations < 1.7 * measured


@pytest.mark.slow
def test_gradient_checkpointing_saves_the_estimated_bytes_and_gives_the_same_gradients(tiny_omni):
    settings = TrainingSettings(precision="float32", parts=("attention",))
    plain = FinetuneResources(micro_batch_size=4)
    checkpointing = plain.model_copy(update={"gradient_checkpointing": True})
    sizes = read_model_sizes(tiny_omni)
    per_layer = memory._bytes_per_token(sizes.text_config, settings) * 4 * 400  # freed one by one
    estimated = estimate(sizes, settings, checkpointing, longest=400).activations - per_layer
    opened = open_for_training(tiny_omni, settings, checkpointing)
    measured = saved_bytes(opened, 400, 4, "float32")
    assert 0.9 * measured < estimated < 1.7 * measured
    other = open_for_training(tiny_omni, settings, plain)
    (loss, gradients), (expected_loss, expected) = map(loss_and_gradients, (opened, other))
    assert loss == expected_loss
    assert len(gradients) == len(expected) > 0
    for gradient, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-5, atol=1e-7)


@pytest.mark.gpu
@pytest.mark.parametrize("method", ["lora", "full"])
def test_steps_on_a_gpu_stay_within_the_estimate(tiny_omni, method):
    settings = TrainingSettings.model_validate({"method": method, "precision": "bfloat16"})
    resources, device = FinetuneResources(micro_batch_size=2), torch.device("cuda", 0)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    opened = open_for_training(tiny_omni, settings, resources, device)
    optimizer = torch.optim.AdamW([p for p in opened.trained.parameters() if p.requires_grad])
    for _ in range(2):  # the second one has the optimizer's moments
        with torch.autocast("cuda", torch.bfloat16):
            loss_and_gradients(opened)
        optimizer.step()
        optimizer.zero_grad()
    peak = torch.cuda.max_memory_allocated(device) - before
    needed = estimate(read_model_sizes(tiny_omni), settings, resources, longest=20)
    assert needed.weights + needed.optimizer < 1.1 * peak
    assert peak < needed.total
