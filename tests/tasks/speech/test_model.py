import os
from pathlib import Path

import pytest

from storage.errors import ModelError
from tasks.speech.model import check_speech_model, open_speech_model, speech_model_identity


def toy_folder(path: Path, weights: bytes = b"weights") -> Path:
    path.mkdir()
    (path / "model.bin").write_bytes(weights)
    (path / "config.json").write_text("{}")
    (path / "tokenizer.json").write_text("{}")
    return path


@pytest.fixture
def unreachable_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def test_folder_without_weights_is_rejected_with_the_missing_files(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"model\.bin, tokenizer\.json missing"):
        check_speech_model(str(tmp_path))


def test_missing_path_is_not_looked_up_on_the_hub(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is not a speech model"):
        check_speech_model(str(tmp_path / "absent"))


@pytest.mark.usefixtures("unreachable_hub")
def test_unreachable_hub_is_reported_in_one_line() -> None:
    with pytest.raises(ModelError, match="'large-v3' is not in the local cache") as caught:
        check_speech_model("large-v3")
    assert "\n" not in str(caught.value)


def test_name_that_no_hub_model_can_have_is_rejected() -> None:
    with pytest.raises(ModelError, match="There is no speech model 'no such model'"):
        check_speech_model("no such model")


def test_folder_with_damaged_weights_cannot_be_opened(tmp_path: Path) -> None:
    folder = toy_folder(tmp_path / "broken")
    check_speech_model(str(folder))
    with pytest.raises(ModelError, match="cannot be opened"):
        open_speech_model(str(folder), "default")


def test_model_is_identified_by_its_content_and_not_by_its_path(tmp_path: Path) -> None:
    one, same = toy_folder(tmp_path / "one"), toy_folder(tmp_path / "same")
    other = toy_folder(tmp_path / "other", b"others!")
    assert speech_model_identity(str(one)) == speech_model_identity(str(same))
    assert speech_model_identity(str(one)) != speech_model_identity(str(other))
    assert speech_model_identity("large-v3") == "large-v3"


def test_retrained_model_in_the_same_folder_is_another_model(tmp_path: Path) -> None:
    folder = toy_folder(tmp_path / "model")
    before = speech_model_identity(str(folder))
    (folder / "model.bin").write_bytes(b"WEIGHTS")
    os.utime(folder / "model.bin", ns=(1, 1))
    assert speech_model_identity(str(folder)) != before
