import resource

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from storage.errors import StoreError
from tasks.model.tensor_files import read_pickle, saving_to, write_pickle
from tasks.training.checkpoints.checkpoint_format import CheckpointFormat

TENSORS = {"weights": torch.zeros(100_000)}
WRITE = {"safetensors": save_file, "torch": write_pickle}


@pytest.fixture
def _small_files():
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("_small_files")
@pytest.mark.parametrize("library", WRITE)
def test_a_full_disk_is_one_clear_error(tmp_path, library):
    expected_error = pytest.raises(StoreError, match="No space left while writing to 'here'")
    with expected_error, saving_to("here"):
        WRITE[library](TENSORS, tmp_path / "weights")


@pytest.mark.usefixtures("_small_files")
def test_a_full_disk_is_one_clear_error_for_checkpoints(tmp_path):
    model = torch.nn.Linear(1000, 100)
    checkpoint_format = CheckpointFormat(model, None, is_sharded=False)
    expected_error = pytest.raises(StoreError, match=r"Cannot write to .here. .*is the disk full")
    with expected_error, saving_to("here"):
        checkpoint_format.write_weights(tmp_path / "step")


def test_other_errors_of_these_libraries_stay_as_they_are(tmp_path):
    (tmp_path / "weights").write_bytes(b"no weights")
    with pytest.raises(SafetensorError), saving_to("here"):
        load_file(tmp_path / "weights")
    with pytest.raises(RuntimeError, match="size"), saving_to("here"):
        torch.zeros(2) + torch.zeros(3)


def test_tensors_of_a_gpu_are_read_on_a_host_without_one(tmp_path, monkeypatch):
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(torch.serialization, "location_tag", lambda _storage: "cuda:7")
        write_pickle(TENSORS, tmp_path / "state.pt")
    with pytest.raises(RuntimeError, match="CUDA"):
        torch.load(tmp_path / "state.pt", weights_only=True)
    assert torch.equal(read_pickle(tmp_path / "state.pt")["weights"], TENSORS["weights"])
