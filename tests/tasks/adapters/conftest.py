"""Adapters on the small base's attention: an untrained one and one with random weights."""

from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="session")
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
