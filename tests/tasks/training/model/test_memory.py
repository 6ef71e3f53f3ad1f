import json

import pytest
import torch

from storage.errors import StageError
from tasks.training.model import memory
from tasks.training.model.memory import check_memory, estimate, read_shapes
from tasks.training.model.trainable import num_parameters, open_for_training, token_counts
from tasks.training.settings import FinetuneResources, TrainingSettings

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
    """The real model's shapes, from a configuration alone."""
    folder = tmp_path_factory.mktemp("full size")
    config = json.loads((tiny_omni / "config.json").read_text())
    for section, sizes in SIZES.items():
        config["thinker_config"][section] |= sizes
    (folder / "config.json").write_text(json.dumps(config))
    return read_shapes(folder)


def test_the_full_size_has_its_31_billion_parameters(full_size):
    assert sum(full_size.numbers.values()) == pytest.approx(31.7e9, rel=0.02)
    assert full_size.numbers["experts"] == 48 * 128 * 3 * 768 * 2048


def test_adapters_on_attention_fit_one_gpu_and_full_training_does_not(full_size):
    lora = TrainingSettings(parts=("attention",))
    small = FinetuneResources(micro_batch_size=1, gradient_checkpointing=True)
    need = estimate(full_size, lora, small, longest=1_500)
    assert 59 * GIB < need.weights < 61 * GIB
    assert need.total < 80 * GIB
    full = estimate(full_size, TrainingSettings(method="full"), small, longest=1_500)
    assert full.total > 400 * GIB


def test_full_training_fits_a_node_of_eight_80_gb_gpus_that_share_the_model_out(full_size):
    settings = TrainingSettings(method="full")
    whole = FinetuneResources(micro_batch_size=1, gradient_checkpointing=True)
    shared = whole.model_copy(update={"sharding": "fsdp"})
    free, eight = 79 * GIB, {"longest": 1_500, "num_processes": 8}
    need = check_memory(full_size, settings, shared, free=free, **eight)
    numbers = sum(full_size.numbers.values())
    assert need.weights + need.trained > 16 * numbers / 8 * 0.95
    assert need.gathered > 2 * numbers / 48 * 2  # two layers in bfloat16
    with pytest.raises(StageError, match=r"fit: resources.finetune.sharding = fsdp"):
        check_memory(full_size, settings, whole, free=free, **eight)
    alone = estimate(full_size, settings, shared, longest=1_500)
    assert alone.total > 400 * GIB


def test_merged_experts_are_held_by_all_layers_unless_layers_are_computed_twice(full_size):
    experts, once = TrainingSettings(), FinetuneResources(micro_batch_size=1)
    twice = once.model_copy(update={"gradient_checkpointing": True})
    held, deferred = (
        estimate(full_size, experts, on, longest=1_500).layers for on in (once, twice)
    )
    assert held > 54 * GIB
    assert deferred < 10 * GIB


def test_what_does_not_fit_is_refused_with_what_would(full_size):
    plain = FinetuneResources(micro_batch_size=8)
    message = r"needs about \d+\.\d GiB \(weights 6\d.* 1500 tokens, but 90\.0 GiB are free: these"
    with pytest.raises(StageError, match=message) as message:
        check_memory(full_size, TrainingSettings(), plain, longest=1_500, free=90 * GIB)
    assert "resources.finetune.gradient_checkpointing = true" in str(message.value)
    with pytest.raises(StageError, match=r"no setting makes it fit: use a device with more"):
        check_memory(full_size, TrainingSettings(), plain, longest=1_500, free=8 * GIB)


def test_what_the_error_says_would_fit_fits(full_size):
    settings = TrainingSettings()
    on = FinetuneResources(micro_batch_size=8, gradient_checkpointing=True)
    need = check_memory(full_size, settings, on, longest=1_500, free=90 * GIB)
    assert need.total <= 90 * GIB


def saved_bytes(opened, num_tokens, batch_size, precision):
    """What autograd keeps between the passes, without the model's own weights."""
    model = opened.trained.train()
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    sizes, held = {}, []

    def note(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            sizes[storage.data_ptr()] = storage.nbytes()
            held.append(tensor)
        return tensor

    ids = torch.arange(batch_size * num_tokens).reshape(batch_size, -1) % 600
    with (
        torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"),
    ):
        model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
    return sum(sizes.values())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "precision"), [("lora", "float32"), ("lora", "bfloat16"), ("full", "bfloat16")]
)
def test_the_estimate_is_near_what_is_held_on_the_small_base(tiny_omni, method, precision):
    settings = TrainingSettings.model_validate({"method": method, "precision": precision})
    resources = FinetuneResources(micro_batch_size=4)
    opened = open_for_training(tiny_omni, settings, resources)
    shapes = read_shapes(tiny_omni)
    assert sum(shapes.numbers.values()) == num_parameters(opened.trained)
    need = estimate(shapes, settings, resources, longest=400)
    assert need.trained == sum(token_counts(opened.trained).values()) * 12
    found = saved_bytes(opened, 400, 4, precision)
    assert 0.9 * found < need.layers < 1.7 * found


@pytest.mark.slow
def test_layers_computed_twice_hold_what_the_estimate_says_and_give_the_same_gradients(tiny_omni):
    settings = TrainingSettings(precision="float32", parts=("attention",))
    once = FinetuneResources(micro_batch_size=4)
    twice = once.model_copy(update={"gradient_checkpointing": True})
    shapes = read_shapes(tiny_omni)
    by_layer = memory._bytes_per_token(shapes.text, settings) * 4 * 400  # comes and goes
    held = estimate(shapes, settings, twice, longest=400).layers - by_layer
    deferred = open_for_training(tiny_omni, settings, twice)
    found = saved_bytes(deferred, 400, 4, "float32")
    assert 0.9 * found < held < 1.7 * found
    plain = open_for_training(tiny_omni, settings, once)
    (loss, gradients), (expected_loss, expected) = (teach(opened) for opened in (deferred, plain))
    assert loss == expected_loss
    assert len(gradients) == len(expected) > 0
    for gradient, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-5, atol=1e-7)


def teach(opened):
    """A loss and the gradients of what is trained."""
    model = opened.trained.train()
    ids = torch.arange(40).reshape(2, -1)
    logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits
    loss = logits.logsumexp(-1).sum()
    loss.backward()
    return float(loss.detach()), [p.grad for p in model.parameters() if p.grad is not None]
