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
    """An untrained adapter, which changes nothing, and one with random weights."""
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
    adapted.save_pretrained(folder / "random")
    return folder / "empty", folder / "random"


@pytest.mark.slow
def test_an_adapter_that_changes_no_logit_is_rejected(tiny_omni: Path, adapters) -> None:  # type: ignore[no-untyped-def]
    empty, trained = adapters
    with pytest.raises(ModelError, match="changes no prediction"):
        merge_checked(tiny_omni, empty, torch.float32)
    *_, change = merge_checked(tiny_omni, trained, torch.float32)
    assert change > 1e-3
    whole = trained.with_name("of the whole model")
    shutil.copytree(trained, whole)
    weights = load_file(trained / "adapter_model.safetensors")
    renamed = {name.replace(".model.", ".model.thinker.", 1): w for name, w in weights.items()}
    save_file(renamed, whole / "adapter_model.safetensors")
    *_, change_by_whole = merge_checked(tiny_omni, whole, torch.float32)
    assert change_by_whole == change


@pytest.mark.slow
def test_an_adapter_that_does_not_fit_its_base_is_one_clear_error(
    tiny_omni: Path, adapters
) -> None:  # type: ignore[no-untyped-def]
    foreign = adapters[1]
    config = json.loads((foreign / "adapter_config.json").read_text())
    (foreign / "adapter_config.json").write_text(json.dumps(config | {"r": 5}))
    with pytest.raises(ModelError, match=r"cannot be applied to its base") as caught:
        merge_checked(tiny_omni, foreign, torch.float32)
    assert "\n" not in str(caught.value)
    (foreign / "adapter_model.safetensors").write_bytes(b"damaged")
    with pytest.raises(ModelError, match=r"is not a valid safetensors file"):
        merge_checked(tiny_omni, foreign, torch.float32)
