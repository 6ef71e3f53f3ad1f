from pathlib import Path

import pytest
import torch

from tasks.model import gpu


@pytest.mark.parametrize("is_loaded", [True, False])
def test_a_gpu_driver_is_found_without_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_loaded: bool
) -> None:
    monkeypatch.setattr(gpu, "_DRIVER", tmp_path if is_loaded else tmp_path / "missing")
    assert gpu.has_gpu_driver() == is_loaded


def test_a_host_without_visible_gpus_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert (gpu.has_gpu(), gpu.count_gpus()) == (False, 0)


@pytest.mark.gpu
def test_a_gpu_has_a_driver_and_free_memory() -> None:
    assert gpu.has_gpu_driver()
    assert gpu.has_gpu()
    assert gpu.has_accelerator()
    assert gpu.count_gpus() >= 1
    free, total = gpu.gpu_memory(0)
    assert 0 < free <= total
