"""Settings that one run overrides: the settings' own models with every field optional.

They are derived from `Settings`, so that the form of a deployment in the Prefect UI has each
setting's name, bounds and description, and its server rejects a typo or a value out of range.
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    create_model,
    model_serializer,
    model_validator,
)
from pydantic.fields import FieldInfo

from flows.context.settings import Settings, describe_fault
from storage.errors import ConfigError


class Overrides(BaseModel):
    """Settings of one section that a run overrides; the others stay the profile's.

    What combines several settings is checked when the profile is known (`load_settings`).
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        field_title_generator=lambda name, _: name,
    )

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, values: Any) -> Any:
        """Take a field that the form left empty as one that is not given."""
        if not isinstance(values, Mapping):
            return values
        return {name: value for name, value in values.items() if value is not None}

    @model_serializer(mode="plain")
    def given(self) -> dict[str, Any]:
        """Return only what is overridden, as nested sections."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        dumped = {
            name: value.given() if isinstance(value, Overrides) else value
            for name, value in values.items()
        }
        return {name: value for name, value in dumped.items() if value not in (None, {})}


def _optional(model: type[BaseModel], title: str) -> type[Overrides]:
    """Derive a section's overrides: the same fields, none of them required."""
    fields: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            path = f"{title}.{name}" if title else name
            inner = _optional(section, path)
            fields[name] = (inner, Field(default=inner(), description=field.description))
        else:
            kind: Any = field.annotation  # of an optional setting, what it is when given
            if get_origin(kind) in (Union, UnionType):
                kind = Union[tuple(k for k in get_args(kind) if k is not NoneType)]  # noqa: UP007
            fields[name] = (kind, _documented(field))
    return create_model(title or "settings", __base__=Overrides, __doc__=model.__doc__, **fields)


def _without_default(schema: dict[str, Any]) -> None:
    schema.pop("default", None)


def _documented(field: FieldInfo) -> FieldInfo:
    """Return a field with the same bounds and description; unless it is given, it is None."""
    default = field.get_default(call_default_factory=True)
    facts = [text.format(bound) for text, bound in _bounds_of(field)]
    if default is not None:
        facts.append(f"default {default}, unless the profile sets it")
    described = " ".join((field.description or "").split())
    documented: Any = Field(
        default=None,
        description=f"{described} ({', '.join(facts)})" if facts else described,
        json_schema_extra=_without_default,
    )
    documented.metadata = field.metadata
    return documented


def _bounds_of(field: FieldInfo) -> Iterator[tuple[str, Any]]:
    """Yield a field's bounds as text: the form checks them, but does not show them."""
    kinds = {"ge": "at least {}", "gt": "above {}", "le": "at most {}", "lt": "below {}"}
    for kind, text in kinds.items():
        for constraint in field.metadata:
            bound = getattr(constraint, kind, None)
            if bound is not None:
                yield text, bound


if TYPE_CHECKING:
    SettingsOverrides = Overrides
else:
    SettingsOverrides = _optional(Settings, "")


def read_overrides(assignments: Sequence[str]) -> SettingsOverrides:
    """Parse ``SECTION.KEY=VALUE`` assignments, whose values are written as in a profile.

    Raises:
        ConfigError: one has another form, or names the invalid setting, its value and what was
            expected.
    """
    values: dict[str, Any] = {}
    for assignment in assignments:
        _assign(values, assignment)
    try:
        return SettingsOverrides.model_validate(values)
    except ValidationError as error:
        raise ConfigError(describe_fault(error.errors()[0])) from error


def _assign(values: dict[str, Any], assignment: str) -> None:
    path, equals, text = assignment.partition("=")
    *sections, key = path.strip().split(".")
    if not equals or not sections:
        raise ConfigError(
            f"The override {assignment!r} is not of the form SECTION.KEY=VALUE, "
            "as in finetune.method=full."
        )
    settings = values
    for section in sections:
        settings = settings.setdefault(section, {})
        if not isinstance(settings, dict):
            raise ConfigError(
                f"The override {assignment!r} does not fit an earlier one, in which {section!r} is "
                f"a value ({settings!r}), not a section."
            )
    try:
        settings[key] = tomllib.loads(f"value = {text.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        settings[key] = text.strip()  # a bare word is a string
