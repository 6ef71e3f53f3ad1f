"""Settings: one validated model, a section for each stage, read from a TOML profile.

What decides a result's content stands in the stages' sections and is part of its identity; what
changes only speed stands in `[resources]` and is not.
"""

import os
import tomllib
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from storage.errors import ConfigError
from tasks.aggregate import AggregateConfig
from tasks.finetune import FinetuneConfig, FinetuneResources
from tasks.inference.settings import InferConfig, InferResources
from tasks.manifest import ManifestConfig
from tasks.prompting.model_input import InputConfig
from tasks.segment import SegmentConfig, SegmentResources
from tasks.transcribe import TranscribeConfig

PROFILES_PATH = Path(__file__).parents[2] / "infra" / "profiles"
MODEL_SETTINGS = (("transcribe", "model"), ("finetune", "model"))


class Resources(BaseModel):
    """What changes only how fast a run is."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    shard_videos: int = Field(default=16, ge=1, le=4096)
    """Videos in a shard of segment, transcribe and manifest."""
    segment: SegmentResources = SegmentResources()
    """How cutting uses the machine."""
    finetune: FinetuneResources = FinetuneResources()
    """How training uses the machine."""
    infer: InferResources = InferResources()
    """How the inference engine uses the machine."""


class Settings(BaseModel):
    """All settings of a run."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    segment: SegmentConfig = SegmentConfig()
    """Stage 1: cutting."""
    transcribe: TranscribeConfig = TranscribeConfig()
    """Stage 2: words."""
    manifest: ManifestConfig = ManifestConfig()
    """Stage 3: labels and splits."""
    input: InputConfig = InputConfig()
    """What the model is shown and asked, in training and inference alike."""
    finetune: FinetuneConfig = FinetuneConfig()
    """Stage 4: training."""
    infer: InferConfig = InferConfig()
    """Stage 5: inference."""
    aggregate: AggregateConfig = AggregateConfig()
    """Stage 6: verdicts and metrics."""
    resources: Resources = Resources()
    """What changes only speed."""


def profile_names() -> list[str]:
    """List the profiles that come with Waver."""
    return sorted(path.stem for path in PROFILES_PATH.glob("*.toml"))


def read_profile(profile: str) -> dict[str, Any]:
    """Read a profile by name or file path, laid over the one that it extends, if it names one.

    A model that is a folder beside the file that names it is found from there.

    Raises:
        ConfigError: there is no such profile, it is not valid TOML, or profiles extend in a circle.
    """
    values: dict[str, Any] = {}
    seen: list[Path] = []
    expected: object = profile
    while expected is not None:
        try:
            path = _profile_path(expected, seen[-1] if seen else None)
            written = _parse_profile(path)
        except OSError as error:
            raise ConfigError(
                f"The profile {expected!r} cannot be read ({error.strerror}): name another, or "
                "make it readable."
            ) from error
        if path in seen:
            raise ConfigError(f"The profile {profile!r} extends itself by way of {str(path)!r}.")
        seen.append(path)
        expected = written.pop("extends", None)
        _change_model_names(written, partial(_beside, path.parent))
        values = _overridden(written, values)
    return values


def _profile_path(profile: object, extended_by: Path | None) -> Path:
    """Find a profile by name, or by file path from the working folder or the file that extends."""
    path = Path(str(profile))
    if path.suffix != ".toml":
        path = PROFILES_PATH / f"{profile}.toml"
    elif extended_by is not None:
        path = extended_by.parent / path
    if not path.is_file():
        raise ConfigError(
            f"There is no profile {profile!r}: name one of {', '.join(profile_names())}, "
            "or a .toml file."
        )
    return path.resolve()


def _parse_profile(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"The profile {str(path)!r} is not valid TOML: {error}.") from error


def _overridden(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Lay one profile's values over another's, section by section."""
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _overridden(merged[key], value) if both else value
    return merged


@cache
def load_settings(profile: str, overrides: tuple[str, ...] = ()) -> Settings:
    """Read a profile, lay `section.key=value` overrides over it, and check every value.

    Read once in a process, so that a profile edited while a run lasts cannot split the run in two.
    In a model's name `~` is the home folder.

    Raises:
        ConfigError: names the setting, its value and what was expected.
    """
    values = read_profile(profile)
    for override in overrides:
        _override(values, override)
    _change_model_names(values, os.path.expanduser)
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_first_fault(error, profile)) from error


def _change_model_names(values: dict[str, Any], change: Callable[[str], str]) -> None:
    for section, key in MODEL_SETTINGS:
        location = values.get(section)
        if isinstance(location, dict) and isinstance(location.get(key), str):
            location[key] = change(location[key])


def _beside(folder: Path, name: str) -> str:
    return str((folder / name).resolve()) if (folder / name).is_dir() else name


def _override(values: dict[str, Any], override: str) -> None:
    path, mark, text = override.partition("=")
    *sections, key = path.strip().split(".")
    if not mark or not sections:
        raise ConfigError(
            f"The override {override!r} is not of the form SECTION.KEY=VALUE, "
            "as in finetune.method=full."
        )
    location = values
    for section in sections:
        location = location.setdefault(section, {})
        if not isinstance(location, dict):
            raise ConfigError(
                f"The override {override!r} cannot be laid over the profile: {section!r} is a "
                f"value there ({location!r}), not a section."
            )
    try:
        location[key] = tomllib.loads(f"value = {text.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        location[key] = text.strip()  # a bare word is a text


def _first_fault(error: ValidationError, profile: str) -> str:
    fault = error.errors()[0]
    name = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        known = _keys_beside(fault["loc"])
        return (
            f"Unknown setting {name!r} in profile {profile!r}: expected one of {', '.join(known)}."
        )
    if isinstance(fault["input"], dict) and fault["type"] == "value_error":  # of one section
        return f"Section {name!r} in profile {profile!r} contradicts itself: {_told_of(fault)}."
    return f"Setting {name!r} in profile {profile!r} is {fault['input']!r}: {_told_of(fault)}."


def _told_of(fault: ErrorDetails) -> str:
    """Say what was expected, in the words of who writes TOML."""
    if fault["type"] == "tuple_type":
        return f"expected a list, as in [{fault['input']!r}]"
    if fault["type"] == "too_short":
        return f"expected a list of at least {fault['ctx']['min_length']}"
    if fault["type"] == "missing":
        return "it is not complete"
    message = fault["msg"]
    if fault["type"] == "value_error":  # a sentence of our own
        return message.removeprefix("Value error, ")
    return message[0].lower() + message[1:]


def _keys_beside(location: tuple[int | str, ...]) -> list[str]:
    model: Any = Settings
    for part in location[:-1]:
        model = model.model_fields[str(part)].annotation
    return sorted(model.model_fields)
