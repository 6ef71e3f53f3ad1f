import json
from pathlib import Path

import pytest

from tasks.prompting.model_input import InputConfig
from tasks.prompting.trained_with import input_mismatches, trained_with

TRAINED = InputConfig(fps=1.0, audio=False)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder of weights with the training's settings beside it."""
    (tmp_path / "merged").mkdir()
    settings = {"input": TRAINED.model_dump(), "training": {}}
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    return tmp_path / "merged"


def test_the_training_s_input_gives_no_warning(model: Path) -> None:
    found = trained_with(model)
    assert found is not None
    assert (found.input, found.max_words_before) == (TRAINED, None)
    assert input_mismatches(model, TRAINED, 50) is None


def test_a_different_input_is_reported_with_the_settings_that_match_it(model: Path) -> None:
    message = input_mismatches(model, TRAINED.model_copy(update={"fps": 2.0, "audio": True}), 50)
    assert message is not None
    assert "--set input.fps=1.0 --set input.audio=false" in message
    assert "transcript" not in message


@pytest.mark.parametrize(
    ("prompt", "trained", "used", "is_reported"),
    [
        ("definition-context", 30, 50, True),
        ("definition-context", 50, 50, False),
        ("definition-context", None, 50, False),  # not recorded by an earlier version
        ("definition-transcript", 30, 50, False),  # the prompt does not quote them
    ],
)
def test_another_number_of_words_before_is_reported_if_the_prompt_quotes_them(
    model: Path, prompt: str, trained: int | None, used: int, is_reported: bool
) -> None:
    config = TRAINED.model_copy(update={"prompt": prompt})
    settings = {"input": config.model_dump(), "max_words_before": trained}
    (model.parent / "settings.json").write_text(json.dumps(settings))
    message = input_mismatches(model, config, used)
    assert (message is not None) == is_reported
    assert not is_reported or str(message).endswith(", or --set manifest.max_words_before=30")


@pytest.mark.parametrize("changes", [{"fps": -1}, {"frames_a_second": 2}, {"prompt": "removed"}])
def test_settings_of_another_version_are_reported_as_unreadable(
    model: Path, changes: dict[str, object]
) -> None:
    settings = {"input": TRAINED.model_dump() | changes, "max_words_before": 50}
    (model.parent / "settings.json").write_text(json.dumps(settings))
    message = input_mismatches(model, TRAINED, 50)
    assert message is not None
    assert "whose settings this version cannot read" in message


@pytest.mark.parametrize("content", [None, "", "[]", '{"training": {}}'])
def test_a_model_without_training_settings_is_never_reported(
    model: Path, content: str | None
) -> None:
    settings = model.parent / "settings.json"
    settings.unlink() if content is None else settings.write_text(content)
    assert trained_with(model) is None
    assert input_mismatches(model, InputConfig(), 50) is None
