"""What a model that Waver trained was shown and asked: a model asked otherwise answers worse.

Training writes its settings beside the folders of adapter and weights (`settings.json`); in a model
that was merged from an adapter they lie within it.
"""

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tasks.omni.inputs import InputConfig

SETTINGS_NAME = "settings.json"


def trained_input(model_path: Path) -> InputConfig | None:
    """Read what a model was trained on; ``None`` for one that Waver did not train."""
    within, beside = model_path / SETTINGS_NAME, model_path.parent / SETTINGS_NAME
    try:
        path = within if within.is_file() else beside
        settings = json.loads(path.read_text(encoding="utf-8"))
        return InputConfig.model_validate(settings["input"])
    except (OSError, ValueError, KeyError, TypeError, ValidationError):
        return None


def asked_otherwise(model_path: Path, asked: InputConfig) -> str | None:
    """Say how these settings differ from those of the training, and what mends it, if they do."""
    trained = trained_input(model_path)
    if trained is None or trained == asked:
        return None
    told = [
        f"--set input.{name}={_written(value)}"
        for name, value in trained.model_dump().items()
        if value != getattr(asked, name)
    ]
    return (
        "The model was trained with other settings of [input] than it is asked with, so its "
        f"answers are not those it was measured by: name the profile it was trained with, or "
        f"{' '.join(told)}"
    )


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
