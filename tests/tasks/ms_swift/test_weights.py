import pytest

from storage.errors import ModelError
from tasks.ms_swift.weights import names_in_model


def test_tensor_names_are_read_from_a_folder(tiny_omni):
    names = names_in_model(str(tiny_omni))
    assert "thinker.model.layers.0.self_attn.q_proj.weight" in names
    assert names == sorted(names)


def test_only_the_index_of_a_model_on_the_hub_is_downloaded(tmp_path, monkeypatch):
    index = tmp_path / "model.safetensors.index.json"
    index.write_text('{"weight_map": {"thinker.b": "2.safetensors", "thinker.a": "1.safetensors"}}')
    downloads = []

    def fetch(*names):
        downloads.append(names)
        return str(index)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fetch)
    assert names_in_model("org/base") == ["thinker.a", "thinker.b"]
    assert downloads == [("org/base", "model.safetensors.index.json")]


def test_an_unavailable_index_is_one_sentence(monkeypatch):
    def fail(*_):
        raise OSError("no route")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fail)
    with pytest.raises(ModelError, match=r"org/base.*cannot be downloaded"):
        names_in_model("org/base")
    with pytest.raises(ModelError, match="no model folder"):
        names_in_model("./base")
