import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from storage.errors import ModelError
from tasks.adapters.merge import merge_checked


@pytest.mark.slow
def test_an_adapter_that_changes_no_logit_is_rejected(  # type: ignore[no-untyped-def]
    tiny_omni: Path, adapters, tmp_path: Path
) -> None:
    empty, trained = adapters
    with pytest.raises(ModelError, match="changes no prediction"):
        merge_checked(tiny_omni, empty, torch.float32)
    *_, change = merge_checked(tiny_omni, trained, torch.float32)
    assert change > 1e-3
    whole = shutil.copytree(trained, tmp_path / "of the whole model")
    weights = load_file(trained / "adapter_model.safetensors")
    renamed = {name.replace(".model.", ".model.thinker.", 1): w for name, w in weights.items()}
    save_file(renamed, whole / "adapter_model.safetensors")
    *_, change_by_whole = merge_checked(tiny_omni, whole, torch.float32)
    assert change_by_whole == change


@pytest.mark.slow
def test_an_adapter_that_does_not_fit_its_base_is_one_clear_error(  # type: ignore[no-untyped-def]
    tiny_omni: Path, adapters, tmp_path: Path
) -> None:
    foreign = shutil.copytree(adapters[1], tmp_path / "adapter")
    config = json.loads((foreign / "adapter_config.json").read_text())
    (foreign / "adapter_config.json").write_text(json.dumps(config | {"r": 5}))
    with pytest.raises(ModelError, match=r"cannot be applied to its base") as caught:
        merge_checked(tiny_omni, foreign, torch.float32)
    assert "\n" not in str(caught.value)
    (foreign / "adapter_model.safetensors").write_bytes(b"damaged")
    with pytest.raises(ModelError, match=r"is not a valid safetensors file"):
        merge_checked(tiny_omni, foreign, torch.float32)
