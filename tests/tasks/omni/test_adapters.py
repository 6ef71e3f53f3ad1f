import json
from pathlib import Path

import pytest

from storage.errors import ModelError
from tasks.omni.adapters import adapter_in, check_named_model
from tasks.omni.checkpoint import fingerprint_of


def write_adapter(folder: Path, base: str | None = None) -> Path:
    folder.mkdir(parents=True)
    config = {"peft_type": "LORA", "base_model_name_or_path": base}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    return folder


def test_an_adapter_is_found_directly_and_in_what_a_training_left(
    tmp_path: Path, tiny_omni: Path
) -> None:
    adapter = write_adapter(tmp_path / "a model" / "adapter")
    assert adapter_in(str(adapter)) == adapter
    assert adapter_in(str(tmp_path / "a model")) == adapter
    assert adapter_in(str(tiny_omni)) is None
    with pytest.raises(ModelError, match="no model folder"):
        adapter_in(str(tmp_path / "gone here"))


def test_an_adapter_s_base_is_its_own_or_else_the_one_that_is_trained(
    tmp_path: Path, tiny_omni: Path
) -> None:
    check_named_model(str(write_adapter(tmp_path / "names", str(tiny_omni))), "/gone")
    check_named_model(str(write_adapter(tmp_path / "moved", "/elsewhere/base")), str(tiny_omni))
    nameless = str(write_adapter(tmp_path / "nameless"))
    check_named_model(nameless, str(tiny_omni))
    with pytest.raises(ModelError, match="no model folder '/gone'"):
        check_named_model(nameless, "/gone")


def test_an_adapter_of_another_base_or_without_weights_is_refused(
    tmp_path: Path, tiny_omni: Path
) -> None:
    adapter = write_adapter(tmp_path / "model" / "adapter")
    settings = tmp_path / "model" / "settings.json"
    settings.write_text(json.dumps({"base_fingerprint": fingerprint_of(tiny_omni)}))
    check_named_model(str(adapter), str(tiny_omni))
    settings.write_text(json.dumps({"base_fingerprint": "of another"}))
    with pytest.raises(ModelError, match="trained from another base than"):
        check_named_model(str(adapter), str(tiny_omni))
    (adapter / "adapter_model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"holds no adapter_model\.safetensors"):
        check_named_model(str(adapter), str(tiny_omni))
