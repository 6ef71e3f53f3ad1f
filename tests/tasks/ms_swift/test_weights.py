import pytest

from storage.errors import ModelError
from tasks.ms_swift.weights import names_in_model


def test_a_folder_is_asked_for_the_names_of_its_tensors(tiny_omni):
    names = names_in_model(str(tiny_omni))
    assert "thinker.model.layers.0.self_attn.q_proj.weight" in names
    assert names == sorted(names)


def test_of_a_model_on_the_hub_the_index_alone_is_fetched(tmp_path, monkeypatch):
    index = tmp_path / "model.safetensors.index.json"
    index.write_text('{"weight_map": {"thinker.b": "2.safetensors", "thinker.a": "1.safetensors"}}')
    asked = []

    def fetch(*names):
        asked.append(names)
        return str(index)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fetch)
    assert names_in_model("org/base") == ["thinker.a", "thinker.b"]
    assert asked == [("org/base", "model.safetensors.index.json")]


def test_an_index_that_cannot_be_had_is_one_sentence(monkeypatch):
    def refuse(*_):
        raise OSError("no route")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", refuse)
    with pytest.raises(ModelError, match=r"org/base.*cannot be had"):
        names_in_model("org/base")
    with pytest.raises(ModelError, match="no model folder"):
        names_in_model("./base")
