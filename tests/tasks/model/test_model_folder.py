import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from storage.errors import ModelError
from tasks.model import weights as weight_files
from tasks.model.model_folder import check_model, computed_dtype, fingerprint_of, stored_dtype

CONFIG = {
    "model_type": "qwen3_omni_moe",
    "thinker_config": {"dtype": "bfloat16", "text_config": {"max_position_embeddings": 128}},
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with all files of a model, and tiny weights."""
    folder = tmp_path / "a model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "processor_config.json").write_text("{}")
    save_file(weights(), folder / "model.safetensors")
    return folder


def weights(change: float = 0.0) -> dict[str, np.ndarray]:
    one = np.arange(5_000, dtype=np.float32)
    return {"thinker.one": one, "thinker.two": one + 1 + change}


def test_a_complete_model_folder_passes_by_absolute_and_relative_path(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check_model(str(model)) == model
    monkeypatch.chdir(model.parent)
    assert check_model("a model") == model


def test_the_shipped_base_passes(tiny_omni: Path) -> None:
    assert check_model(str(tiny_omni)) == tiny_omni.resolve()
    assert stored_dtype(tiny_omni) in ("float32", "bfloat16")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("/no/such/folder", "There is no model folder '/no/such/folder'"),
        ("no such folder", "There is no model folder 'no such folder'"),
        (__file__, "is a file: expected a folder"),
    ],
)
def test_a_name_that_is_no_folder_is_rejected(name: str, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        check_model(name)


def test_a_hub_name_without_a_connection_is_one_clear_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="'Qwen/Qwen3-Omni' is not a local folder") as caught:
        check_model("Qwen/Qwen3-Omni")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("missing", "reason"),
    [
        ("config.json", "has no config.json"),
        ("tokenizer.json", "has no tokenizer"),
        ("processor_config.json", "has no processor"),
        ("model.safetensors", "has no weights"),
    ],
)
def test_a_missing_file_is_named(model: Path, missing: str, reason: str) -> None:
    (model / missing).unlink()
    with pytest.raises(ModelError, match=reason):
        check_model(str(model))


def test_a_model_of_another_family_is_rejected(model: Path) -> None:
    (model / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(ModelError, match="of type 'llama': expected one of the Qwen3-Omni family"):
        check_model(str(model))


def test_a_damaged_config_is_rejected(model: Path) -> None:
    (model / "config.json").write_text('{"model_type": ')
    with pytest.raises(ModelError, match="not valid JSON"):
        check_model(str(model))


def test_an_adapter_without_its_base_is_rejected_with_advice(model: Path) -> None:
    (model / "config.json").rename(model / "adapter_config.json")
    with pytest.raises(ModelError, match="peft adapter without its base model: name a whole"):
        check_model(str(model))


def test_the_fingerprint_depends_on_content_and_not_on_the_path(
    model: Path, tmp_path: Path
) -> None:
    copied = shutil.copytree(model, tmp_path / "elsewhere")
    (copied / "README.md").write_text("notes are not part of a model")
    assert fingerprint_of(copied) == fingerprint_of(model)


@pytest.mark.parametrize("max_full_read_bytes", [1 << 20, 0])
def test_changed_weights_change_the_fingerprint(
    model: Path, max_full_read_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weight_files, "_MAX_FULL_READ_BYTES", max_full_read_bytes)
    before = fingerprint_of(model)
    assert fingerprint_of(model) == before
    save_file(weights(change=0.5), model / "model.safetensors")
    assert fingerprint_of(model) != before


def test_a_changed_processor_changes_the_fingerprint(model: Path) -> None:
    before = fingerprint_of(model)
    (model / "processor_config.json").write_text('{"a": 1}')
    assert fingerprint_of(model) != before


def test_the_number_type_is_read_from_any_section_of_the_config(model: Path) -> None:
    assert stored_dtype(model) == "bfloat16"
    (model / "config.json").write_text(json.dumps({**CONFIG, "torch_dtype": "float16"}))
    assert stored_dtype(model) == "float16"
    (model / "config.json").write_text('{"model_type": "qwen3_omni_moe"}')
    assert stored_dtype(model) == "float32"


def test_weights_in_a_type_without_computation_need_an_explicit_dtype(model: Path) -> None:
    (model / "config.json").write_text(json.dumps({**CONFIG, "dtype": "torch.bfloat16"}))
    assert computed_dtype(model, "auto") == "bfloat16"
    (model / "config.json").write_text(json.dumps({**CONFIG, "dtype": "float8_e4m3fn"}))
    assert computed_dtype(model, "float16") == "float16"
    with pytest.raises(ModelError, match=r"saved in float8_e4m3fn, .* set infer\.dtype to one of"):
        computed_dtype(model, "auto")
