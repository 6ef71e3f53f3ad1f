"""Settings: one validated model with a section per stage, read from a TOML profile.

The stages' sections decide the content of results and are part of their identity; `[resources]`
only changes speed and is not.
"""

import os
import tomllib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
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
    """Settings that change only the speed of a run."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    runner: Literal["local", "ray"] = "local"
    """Where shards are computed: on this node, or on the Ray cluster at `ray_address`."""
    ray_address: str = ""
    """HOST:PORT of the head of the Ray cluster, as this node and all others reach it."""
    shard_videos: int = Field(default=16, ge=1, le=4096)
    """Number of videos per shard of segment, transcribe and manifest."""
    verify_days: float = Field(default=30, gt=0, le=36_500)
    """Days after which an unchanged video or stored file is read again, to find damage of the disk;
    spread over the files from half of that time on."""
    segment: SegmentResources = SegmentResources()
    """Resources of cutting."""
    finetune: FinetuneResources = FinetuneResources()
    """Resources of training."""
    infer: InferResources = InferResources()
    """Resources of the inference engines."""

    @model_validator(mode="after")
    def _names_the_cluster(self) -> "Resources":
        if self.runner == "ray" and not self.ray_address:
            raise ValueError("runner 'ray' needs ray_address, HOST:PORT of the cluster's head")
        return self


class Settings(BaseModel):
    """All settings of a run."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    segment: SegmentConfig = SegmentConfig()
    """Stage 1: cutting."""
    transcribe: TranscribeConfig = TranscribeConfig()
    """Stage 2: transcription."""
    manifest: ManifestConfig = ManifestConfig()
    """Stage 3: labels and splits."""
    input: InputConfig = InputConfig()
    """The model's input, in training and inference alike."""
    finetune: FinetuneConfig = FinetuneConfig()
    """Stage 4: training."""
    infer: InferConfig = InferConfig()
    """Stage 5: inference."""
    aggregate: AggregateConfig = AggregateConfig()
    """Stage 6: verdicts and metrics."""
    resources: Resources = Resources()
    """Settings that change only speed."""


def profile_names() -> list[str]:
    """List the profiles that come with Waver, sorted."""
    return sorted(path.stem for path in PROFILES_PATH.glob("*.toml"))


def read_profile(profile: str) -> dict[str, Any]:
    """Read a profile by name or file path; its values override those of the one that it extends.

    A relative path of a model folder counts from the file that names it.

    Raises:
        ConfigError: there is no such profile, it is not valid TOML, or it extends itself.
    """
    values: dict[str, Any] = {}
    seen: list[Path] = []
    name: object = profile
    while name is not None:
        try:
            path = _profile_path(name, seen[-1] if seen else None)
            written = _parse_profile(path)
        except OSError as error:
            raise ConfigError(
                f"The profile {name!r} cannot be read ({error.strerror}): name another, or "
                "make it readable."
            ) from error
        if path in seen:
            raise ConfigError(
                f"The profile {profile!r} extends itself through {str(path)!r}: remove one of the "
                "`extends` keys."
            )
        seen.append(path)
        name = written.pop("extends", None)
        _change_model_names(written, partial(_beside, path.parent))
        values = _overridden(written, values)
    return values


def _profile_path(profile: object, extended_by: Path | None) -> Path:
    """Find a profile by name or file path.

    A relative path counts from the file that extends it, else from the working folder.
    """
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


def _overridden(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Override one profile's values with another's, section by section."""
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _overridden(merged[key], value) if both else value
    return merged


def load_settings(profile: str, overrides: Mapping[str, Any] = MappingProxyType({})) -> Settings:
    """Read a profile, apply the overrides, section by section, and validate every value.

    In a model's name `~` is the home folder.

    Raises:
        ConfigError: names the invalid setting, its value and what was expected.
    """
    values = _overridden(read_profile(profile), overrides)
    _change_model_names(values, os.path.expanduser)
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise ConfigError(describe_fault(error.errors()[0], profile)) from error


def _change_model_names(values: dict[str, Any], change: Callable[[str], str]) -> None:
    for section, key in MODEL_SETTINGS:
        settings = values.get(section)
        if isinstance(settings, dict) and isinstance(settings.get(key), str):
            settings[key] = change(settings[key])


def _beside(folder: Path, name: str) -> str:
    return str((folder / name).resolve()) if (folder / name).is_dir() else name


def describe_fault(fault: ErrorDetails, profile: str | None = None) -> str:
    """Return one sentence about an invalid setting, with its value and what was expected."""
    name = ".".join(str(part) for part in fault["loc"])
    where = "" if profile is None else f" in profile {profile!r}"
    if fault["type"] == "extra_forbidden":
        known = _keys_beside(fault["loc"])
        return f"Unknown setting {name!r}{where}: expected one of {', '.join(known)}."
    if isinstance(fault["input"], dict) and fault["type"] == "value_error":  # of a whole section
        return f"Section {name!r}{where} contradicts itself: {_expectation(fault)}."
    return f"Setting {name!r}{where} is {fault['input']!r}: {_expectation(fault)}."


def _expectation(fault: ErrorDetails) -> str:
    """Describe the expected value in terms of TOML."""
    if fault["type"] == "tuple_type":
        return f"expected a list, as in [{fault['input']!r}]"
    if fault["type"] == "too_short":
        return f"expected a list of at least {fault['ctx']['min_length']}"
    if fault["type"] == "missing":
        return "a key is missing"
    message = fault["msg"]
    if fault["type"] == "value_error":  # a message of Waver's own validators
        return message.removeprefix("Value error, ")
    return message[0].lower() + message[1:]


def _keys_beside(location: tuple[int | str, ...]) -> list[str]:
    model: Any = Settings
    for part in location[:-1]:
        model = model.model_fields[str(part)].annotation
    return sorted(model.model_fields)
