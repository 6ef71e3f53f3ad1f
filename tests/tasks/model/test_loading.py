import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from storage.errors import ModelError
from tasks.model.loading import LoadOptions, open_base

META = LoadOptions(dtype=torch.bfloat16, device=torch.device("meta"), experts="eager")
CPU = LoadOptions(dtype=torch.float32, device=torch.device("cpu"), experts="eager")


@pytest.fixture
def model(tiny_omni: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_omni, tmp_path / "model"))


@pytest.mark.slow
def test_on_the_device_meta_no_weights_are_read(model: Path) -> None:
    (model / "model.safetensors").unlink()
    top, processor = open_base(model, META)
    assert {parameter.device.type for parameter in top.parameters()} == {"meta"}
    assert top.thinker.dtype == torch.bfloat16
    assert processor.tokenizer.pad_token_id is not None


@pytest.mark.slow
def test_a_model_that_lacks_a_weight_is_rejected_by_its_name(model: Path) -> None:
    weights = load_file(model / "model.safetensors")
    name = next(name for name in weights if "q_proj" in name)
    del weights[name]
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks 1 of its weights, .*q_proj"):
        open_base(model, CPU)


def test_content_that_does_not_fit_the_model_is_one_sentence(model: Path) -> None:
    (model / "config.json").write_text('{"model_type": "qwen3_omni_moe", "thinker_config": 3}')
    with pytest.raises(ModelError, match="cannot be opened") as caught:
        open_base(model, META)
    assert "expected a Hugging Face folder of the Qwen3-Omni family" in str(caught.value)
