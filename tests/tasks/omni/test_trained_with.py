import json
from pathlib import Path

import pytest

from tasks.omni.inputs import InputConfig
from tasks.omni.trained_with import asked_otherwise, trained_input

TRAINED = InputConfig(fps=1.0, sound=False)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The folder of weights, beside which training wrote its settings."""
    (tmp_path / "merged").mkdir()
    settings = {"input": TRAINED.model_dump(), "training": {}}
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    return tmp_path / "merged"


def test_a_model_that_is_asked_as_it_was_trained_gives_no_warning(model: Path) -> None:
    assert trained_input(model) == TRAINED
    assert asked_otherwise(model, TRAINED) is None


def test_a_model_that_is_asked_otherwise_says_what_mends_it(model: Path) -> None:
    told = asked_otherwise(model, TRAINED.model_copy(update={"fps": 2.0, "sound": True}))
    assert told is not None
    assert "--set input.fps=1.0 --set input.sound=false" in told
    assert "words" not in told


@pytest.mark.parametrize("content", [None, "", "[]", '{"input": {"fps": -1}}', '{"training": {}}'])
def test_of_any_other_model_nothing_is_known(model: Path, content: str | None) -> None:
    settings = model.parent / "settings.json"
    settings.unlink() if content is None else settings.write_text(content)
    assert trained_input(model) is None
    assert asked_otherwise(model, InputConfig()) is None
