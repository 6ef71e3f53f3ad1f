import json
from pathlib import Path

import pytest

from tasks.prompting.model_input import InputConfig
from tasks.prompting.trained_with import input_mismatches, trained_with

TRAINED = InputConfig(fps=1.0, audio=False)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The folder of weights, beside which training wrote its settings."""
    (tmp_path / "merged").mkdir()
    settings = {"input": TRAINED.model_dump(), "training": {}}
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    return tmp_path / "merged"


def test_a_model_that_is_asked_as_it_was_trained_gives_no_warning(model: Path) -> None:
    found = trained_with(model)
    assert found is not None
    assert (found.input, found.max_words_before) == (TRAINED, None)
    assert input_mismatches(model, TRAINED, 50) is None


def test_a_model_that_is_asked_otherwise_says_what_mends_it(model: Path) -> None:
    message = input_mismatches(model, TRAINED.model_copy(update={"fps": 2.0, "audio": True}), 50)
    assert message is not None
    assert "--set input.fps=1.0 --set input.audio=false" in message
    assert "transcript" not in message


@pytest.mark.parametrize(
    ("prompt", "trained", "asked", "message"),
    [
        ("definition-context", 30, 50, True),
        ("definition-context", 50, 50, False),
        ("definition-context", None, 50, False),  # a model from before this was noted
        ("definition-transcript", 30, 50, False),  # it was shown none of them
    ],
)
def test_other_numbers_of_words_before_are_told_where_the_model_was_shown_them(
    model: Path, prompt: str, trained: int | None, asked: int, message: bool
) -> None:
    shown = TRAINED.model_copy(update={"prompt": prompt})
    settings = {"input": shown.model_dump(), "max_words_before": trained}
    (model.parent / "settings.json").write_text(json.dumps(settings))
    answer = input_mismatches(model, shown, asked)
    assert (answer is not None) == message
    assert not message or str(answer).endswith(", or --set manifest.max_words_before=30")


@pytest.mark.parametrize("noted", [{"fps": -1}, {"frames_a_second": 2}, {"prompt": "of old"}])
def test_settings_of_another_version_are_told_to_be_not_known(
    model: Path, noted: dict[str, object]
) -> None:
    settings = {"input": TRAINED.model_dump() | noted, "max_words_before": 50}
    (model.parent / "settings.json").write_text(json.dumps(settings))
    answer = input_mismatches(model, TRAINED, 50)
    assert answer is not None
    assert "whose settings this version cannot read" in answer


@pytest.mark.parametrize("content", [None, "", "[]", '{"training": {}}'])
def test_of_any_other_model_nothing_is_known(model: Path, content: str | None) -> None:
    settings = model.parent / "settings.json"
    settings.unlink() if content is None else settings.write_text(content)
    assert trained_with(model) is None
    assert input_mismatches(model, InputConfig(), 50) is None
