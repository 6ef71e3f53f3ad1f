"""An adapter that changes nothing is no adapter."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from storage.errors import ModelError
from tasks.adapters.merge import merge_checked


@pytest.fixture(scope="module")
def adapters(tiny_omni: Path, tmp_path_factory) -> tuple[Path, Path]:  # type: ignore[no-untyped-def]
    """An adapter as it is before training, which changes nothing, and one that changes much."""
    from peft import LoraConfig, get_peft_model
    from transformers import Qwen3OmniMoeForConditionalGeneration

    folder = tmp_path_factory.mktemp("adapters")
    top = Qwen3OmniMoeForConditionalGeneration.from_pretrained(tiny_omni, dtype=torch.float32)
    config = LoraConfig(r=2, target_modules=["q_proj"], exclude_modules=r".*(visual|audio).*")
    adapted = get_peft_model(top.thinker, config)
    adapted.save_pretrained(folder / "empty")
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    adapted.save_pretrained(folder / "moving")
    return folder / "empty", folder / "moving"


@pytest.mark.slow
def test_an_adapter_that_moves_no_logit_is_refused(tiny_omni: Path, adapters) -> None:  # type: ignore[no-untyped-def]
    empty, moving = adapters
    with pytest.raises(ModelError, match="changes no answer"):
        merge_checked(tiny_omni, empty, torch.float32)
    *_, moved = merge_checked(tiny_omni, moving, torch.float32)
    assert moved > 1e-3
    whole = moving.with_name("of the whole model")
    shutil.copytree(moving, whole)
    weights = load_file(moving / "adapter_model.safetensors")
    renamed = {name.replace(".model.", ".model.thinker.", 1): w for name, w in weights.items()}
    save_file(renamed, whole / "adapter_model.safetensors")
    *_, moved_by_whole = merge_checked(tiny_omni, whole, torch.float32)
    assert moved_by_whole == moved


@pytest.mark.slow
def test_what_is_no_adapter_of_this_base_is_one_clear_error(tiny_omni: Path, adapters) -> None:  # type: ignore[no-untyped-def]
    foreign = adapters[1]
    config = json.loads((foreign / "adapter_config.json").read_text())
    (foreign / "adapter_config.json").write_text(json.dumps(config | {"r": 5}))
    with pytest.raises(ModelError, match=r"cannot be laid onto its base") as caught:
        merge_checked(tiny_omni, foreign, torch.float32)
    assert "\n" not in str(caught.value)
    (foreign / "adapter_model.safetensors").write_bytes(b"damaged")
    with pytest.raises(ModelError, match=r"is no safetensors file, or damaged"):
        merge_checked(tiny_omni, foreign, torch.float32)
