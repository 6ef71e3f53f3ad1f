import pytest
import torch

from storage.errors import StageError
from tasks.model.available_memory import check_disk, check_host, free_bytes


def test_processes_divide_the_host_s_free_memory():
    whole, half = (free_bytes(torch.device("cpu"), count) for count in (1, 2))
    assert 0 < half < whole
    assert half == pytest.approx(whole / 2, rel=0.2)


def test_a_base_larger_than_host_memory_is_rejected(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(bytes(3 << 20))
    check_host(tmp_path, free=3 << 20)
    with pytest.raises(StageError, match=r"needs 0\.0 GiB of host .* 0\.0 GiB are free"):
        check_host(tmp_path, free=-1)


def test_a_model_larger_than_the_disk_is_rejected_before_training(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(bytes(3 << 20))
    check_disk(tmp_path, tmp_path)
    check_disk(tmp_path, tmp_path, free=3 << 20)
    with pytest.raises(StageError, match=r"trained model needs about 0\.0 GiB.*merge = false"):
        check_disk(tmp_path, tmp_path, free=1 << 20)
