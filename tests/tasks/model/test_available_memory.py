import pytest
import torch

from storage.errors import StageError
from tasks.model.available_memory import check_disk, check_host, free_bytes


def test_a_host_has_free_memory_to_share():
    whole, half = (free_bytes(torch.device("cpu"), count) for count in (1, 2))
    assert 0 < half < whole
    assert half == pytest.approx(whole / 2, rel=0.2)


def test_a_base_that_the_host_cannot_hold_once_is_refused(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(bytes(3 << 20))
    check_host(tmp_path, free=3 << 20)
    with pytest.raises(StageError, match=r"takes 0\.0 GiB of the host's .* 0\.0 GiB are free"):
        check_host(tmp_path, free=-1)


def test_a_model_that_the_disk_cannot_hold_is_refused_before_it_is_trained(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(bytes(3 << 20))
    check_disk(tmp_path, tmp_path)
    check_disk(tmp_path, tmp_path, free=3 << 20)
    with pytest.raises(StageError, match=r"finished model takes about 0\.0 GiB.*merge = false"):
        check_disk(tmp_path, tmp_path, free=1 << 20)
