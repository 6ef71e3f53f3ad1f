import importlib.util

import pytest
import torch

from storage.errors import ConfigError, ToolError
from tasks.training.model.load_options import experts_for, plan_loading
from tasks.training.model.trainable import open_for_training
from tasks.training.settings import FinetuneResources, TrainingSettings

FOUR_BIT = TrainingSettings(quantize="4bit")
GPU = torch.device("cuda", 0)


@pytest.mark.parametrize(("capability", "name"), [((8, 0), "A100"), ((9, 0), "H100")])
def test_gpus_that_support_grouped_products_use_them(monkeypatch, capability, name):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert experts_for(GPU, "auto") == "grouped_mm"


def test_a_loop_over_experts_on_a_gpu_is_rejected_unless_requested_by_name(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla T4")
    with pytest.raises(ConfigError, match=r"'Tesla T4' does not support grouped .* or eager"):
        experts_for(GPU, "auto")
    assert experts_for(GPU, "eager") == "eager"


def test_four_bits_require_a_gpu_and_bitsandbytes(monkeypatch):
    with pytest.raises(ConfigError, match=r"4bit requires an NVIDIA GPU.*'cpu'"):
        plan_loading(FOUR_BIT, FinetuneResources())
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    monkeypatch.setattr("tasks.training.model.load_options.find_spec", lambda _: None)
    with pytest.raises(ToolError, match="pip install bitsandbytes"):
        plan_loading(FOUR_BIT, FinetuneResources(), GPU)


def test_four_bits_do_not_quantize_towers_head_and_router(monkeypatch):
    spec = importlib.util.find_spec("torch")
    monkeypatch.setattr("tasks.training.model.load_options.find_spec", lambda _: spec)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    config = plan_loading(FOUR_BIT, FinetuneResources(), GPU).quantization
    assert (config.load_in_4bit, config.bnb_4bit_quant_type) == (True, "nf4")
    assert config.bnb_4bit_compute_dtype == torch.bfloat16
    assert set(config.llm_int8_skip_modules) == {"visual", "audio_tower", "lm_head", "gate"}


@pytest.mark.slow
@pytest.mark.parametrize("experts", ["auto", "eager", "batched_mm"])
def test_all_expert_implementations_give_the_same_logits(tiny_omni, experts):
    resources = FinetuneResources(experts=experts)
    settings = TrainingSettings(precision="float32")
    opened = open_for_training(tiny_omni, settings, resources)
    used = opened.top.thinker.model.config._experts_implementation
    assert used == ("grouped_mm" if experts == "auto" else experts)
    grouped = open_for_training(tiny_omni, settings).trained
    ids = torch.arange(24).reshape(2, 12)
    with torch.no_grad():
        logits, expected = (
            model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
            for model in (opened.trained, grouped)
        )
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)
