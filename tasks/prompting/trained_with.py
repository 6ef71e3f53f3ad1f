"""The input settings that a model was trained with, to warn if it is used with different ones.

Training writes its settings beside the folders of adapter and weights (`settings.json`); a model
merged from an adapter contains a copy.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tasks.prompting.model_input import InputConfig
from tasks.prompting.prompt import quotes_transcript_before

SETTINGS_NAME = "settings.json"
_UNREADABLE = (
    "The model was trained by another version of Waver, whose settings this version cannot read. "
    "With a different input than in training its predictions are worse than measured: use the "
    "profile it was trained with"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedWith:
    """A trained model's input; a field is ``None`` if its settings are missing or unreadable."""

    input: InputConfig | None
    max_words_before: int | None

    @property
    def quotes_before(self) -> bool:
        """Whether the training prompts quoted the speech before a segment."""
        config = self.input
        return config is not None and config.transcript and quotes_transcript_before(config.prompt)


def trained_with(model_path: Path) -> TrainedWith | None:
    """Read the input that a model was trained with; ``None`` if Waver did not train it."""
    inside, beside = model_path / SETTINGS_NAME, model_path.parent / SETTINGS_NAME
    try:
        path = inside if inside.is_file() else beside
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not (isinstance(settings, dict) and isinstance(settings.get("input"), dict)):
        return None
    max_words_before = settings.get("max_words_before")
    return TrainedWith(
        input=_input_of(settings["input"]),
        max_words_before=max_words_before if isinstance(max_words_before, int) else None,
    )


def _input_of(settings: dict[str, Any]) -> InputConfig | None:
    try:
        return InputConfig.model_validate(settings)
    except ValidationError:
        return None


def input_mismatches(model_path: Path, config: InputConfig, max_words_before: int) -> str | None:
    """Describe how these settings differ from the training's, with the way to match them.

    ``max_words_before`` is the manifest's; it matters only if the training prompts quoted that
    speech.
    """
    trained = trained_with(model_path)
    if trained is None:
        return None
    if trained.input is None:
        return _UNREADABLE
    overrides = [
        f"--set input.{name}={_written(value)}"
        for name, value in trained.input.model_dump().items()
        if value != getattr(config, name)
    ]
    if trained.quotes_before and trained.max_words_before not in (None, max_words_before):
        overrides.append(f"--set manifest.max_words_before={trained.max_words_before}")
    if not overrides:
        return None
    return (
        "The model was trained with different input settings, so its predictions differ from those "
        f"it was measured by: use the profile it was trained with, or {' '.join(overrides)}"
    )


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
