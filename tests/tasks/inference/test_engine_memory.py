from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from storage.errors import ModelError
from tasks.inference import engine_memory as memory
from tasks.inference.engine_memory import check_engine_memory, required_bytes
from tasks.inference.engine_settings import EngineResources

RESOURCES = EngineResources(cpu_cache_gib=1)


def test_weights_in_half_the_bytes_need_half_the_memory(tiny_omni: Path) -> None:
    whole, half, double_cache = (
        required_bytes(tiny_omni, dtype, EngineResources(cpu_cache_gib=gib), on_gpu=False)
        for dtype, gib in (("float32", 1), ("bfloat16", 1), ("float32", 2))
    )
    weights = (load_file(path) for path in tiny_omni.glob("*.safetensors"))
    size = sum(tensor.nbytes for tensors in weights for tensor in tensors.values())
    assert whole - half == size // 2
    assert double_cache - whole == 2**30


def test_weights_of_eight_bits_are_loaded_as_stored(tmp_path: Path) -> None:
    without = required_bytes_of(tmp_path / "none", {})
    eight = {
        "of floats": torch.zeros(1000, dtype=torch.float8_e4m3fn),
        "of whole numbers": torch.zeros(10, dtype=torch.int8),
        "their scale": torch.zeros(2, dtype=torch.float64),
    }
    assert required_bytes_of(tmp_path / "eight", eight) - without == 1000 + 10 + 2 * 2


def required_bytes_of(folder: Path, tensors: dict[str, torch.Tensor]) -> int:
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors")
    return required_bytes(folder, "bfloat16", RESOURCES, on_gpu=False)


def test_a_model_that_does_not_fit_is_rejected_with_the_free_memory(
    tiny_omni: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_engine_memory(tiny_omni, "float32", RESOURCES, on_gpu=False)
    monkeypatch.setattr(memory, "host_bytes", lambda: 2**30)
    with pytest.raises(ModelError, match=r"about 3\.\d GiB in float32, but the host has 1\.0"):
        check_engine_memory(tiny_omni, "float32", RESOURCES, on_gpu=False)


def test_the_advice_names_only_settings_that_help(
    tiny_omni: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "host_bytes", lambda: 2**30)
    with pytest.raises(ModelError, match=r"cpu_cache_gib\), or compute in bfloat16"):
        check_engine_memory(tiny_omni, "float32", EngineResources(cpu_cache_gib=99), on_gpu=False)
    with pytest.raises(ModelError, match="free: close other programs, or use a host with more"):
        check_engine_memory(tiny_omni, "bfloat16", RESOURCES, on_gpu=False)
