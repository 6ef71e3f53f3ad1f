import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from storage.errors import ModelError
from tasks.model.weights import (
    WEIGHTS_INDEX,
    check_weights,
    weight_bytes,
    weight_names,
    weight_paths,
)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with tiny weights alone."""
    folder = tmp_path / "a model"
    folder.mkdir()
    weights = {
        "thinker.one": np.zeros(5_000, np.float32),
        "thinker.two": np.zeros((100, 50), np.float16),
        "thinker.packed": np.zeros(7, np.int32),
    }
    save_file(weights, folder / "model.safetensors")
    return folder


def check_folder(folder: Path) -> None:
    for path in weight_paths(folder):
        check_weights(path)


def test_complete_weights_pass_and_are_listed(model: Path) -> None:
    check_folder(model)
    assert weight_names(model) == ["thinker.one", "thinker.packed", "thinker.two"]


def test_floats_are_counted_in_the_dtype_of_loading_and_other_tensors_as_stored(
    model: Path,
) -> None:
    assert weight_bytes(model, "float32") == 4 * 10_000 + 4 * 7
    assert weight_bytes(model, "bfloat16") == 2 * 10_000 + 4 * 7


def test_pickled_weights_are_rejected(model: Path) -> None:
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"only as pickle \('pytorch_model.bin'\)"):
        check_folder(model)


@pytest.mark.parametrize("num_bytes", [4, 20, 30_000])
def test_truncated_weights_are_rejected(model: Path, num_bytes: int) -> None:
    path = model / "model.safetensors"
    path.write_bytes(path.read_bytes()[:num_bytes])
    with pytest.raises(ModelError, match="weight file"):
        check_folder(model)


def test_a_weight_file_in_the_index_must_exist(model: Path) -> None:
    index = {"weight_map": {"thinker.one": "model.safetensors", "thinker.two": "gone.safetensors"}}
    (model / WEIGHTS_INDEX).write_text(json.dumps(index))
    with pytest.raises(ModelError, match=r"lacks 1 of its 2 weight files.*'gone.safetensors'"):
        check_folder(model)


def test_only_the_indexed_weight_files_count(model: Path) -> None:
    index = {"weight_map": {"thinker.one": "model.safetensors"}}
    (model / WEIGHTS_INDEX).write_text(json.dumps(index))
    shutil.copy(model / "model.safetensors", model / "old.safetensors")
    assert [path.name for path in weight_paths(model)] == ["model.safetensors"]


@pytest.mark.parametrize(
    "index",
    [
        "{",
        "[]",
        "{}",
        '{"weight_map": 3}',
        '{"weight_map": {}}',
        '{"weight_map": {"a": 1}}',
        '{"weight_map": {"a": "../model.safetensors"}}',
    ],
)
def test_a_damaged_index_of_weights_is_rejected(model: Path, index: str) -> None:
    (model / "model.safetensors.index.json").write_text(index)
    with pytest.raises(ModelError, match=r"model\.safetensors\.index\.json' is not a valid index"):
        check_folder(model)
