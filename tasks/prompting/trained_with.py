"""What a model that Waver trained was shown and asked: a model asked otherwise answers worse.

Training writes its settings beside the folders of adapter and weights (`settings.json`); in a model
that was merged from an adapter they lie within it.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tasks.prompting.model_input import InputConfig
from tasks.prompting.prompt import uses_words_before

SETTINGS_NAME = "settings.json"
_NOT_KNOWN = (
    "The model was trained by another version of Waver, whose settings this one cannot read, so it "
    "is not known how the model was asked in training; its answers are not those it was measured "
    "by unless it is asked alike: name the profile it was trained with"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedWith:
    """What a model was trained on; ``max_words_before`` is ``None`` where that was not noted.

    ``input`` is ``None`` where this version of Waver cannot read what another one noted.
    """

    input: InputConfig | None
    max_words_before: int | None

    @property
    def quotes_before(self) -> bool:
        """True if the model was shown what had been said before a segment."""
        shown = self.input
        return shown is not None and shown.transcript and uses_words_before(shown.prompt)


def trained_with(model_path: Path) -> TrainedWith | None:
    """Read what a model was trained on; ``None`` for one that Waver did not train."""
    within, beside = model_path / SETTINGS_NAME, model_path.parent / SETTINGS_NAME
    try:
        path = within if within.is_file() else beside
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not (isinstance(settings, dict) and isinstance(settings.get("input"), dict)):
        return None
    words = settings.get("max_words_before")
    return TrainedWith(
        input=_input_of(settings["input"]),
        max_words_before=words if isinstance(words, int) else None,
    )


def _input_of(noted: dict[str, Any]) -> InputConfig | None:
    try:
        return InputConfig.model_validate(noted)
    except ValidationError:
        return None


def input_mismatches(model_path: Path, asked: InputConfig, max_words_before: int) -> str | None:
    """Say how these settings differ from those of the training, and what mends it, if they do.

    ``max_words_before`` is the manifest's; it matters where the model was shown those words.
    """
    trained = trained_with(model_path)
    if trained is None:
        return None
    if trained.input is None:
        return _NOT_KNOWN
    message = [
        f"--set input.{name}={_written(value)}"
        for name, value in trained.input.model_dump().items()
        if value != getattr(asked, name)
    ]
    if trained.quotes_before and trained.max_words_before not in (None, max_words_before):
        message.append(f"--set manifest.max_words_before={trained.max_words_before}")
    if not message:
        return None
    return (
        "The model was trained with other settings than it is asked with, so its answers are not "
        f"those it was measured by: name the profile it was trained with, or {' '.join(message)}"
    )


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
