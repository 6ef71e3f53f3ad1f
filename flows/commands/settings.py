"""The settings reference: every setting with its type, default and meaning, from the models."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.context.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting; ``name`` is that of ``--set``, without its section."""

    name: str
    kind: str
    default: str
    meaning: str


def settings_by_section(
    model: type[BaseModel] = Settings, prefix: str = ""
) -> Iterator[tuple[str, str, list[Setting]]]:
    """Yield each section's name, meaning and settings, in the order of a profile."""
    for name, field in model.model_fields.items():
        section = _section_of(field)
        if section is None:
            continue
        path = f"{prefix}{name}"
        settings = [
            _describe(key, inner)
            for key, inner in section.model_fields.items()
            if _section_of(inner) is None
        ]
        yield path, field.description or "", settings
        yield from settings_by_section(section, f"{path}.")


def markdown() -> str:
    """Return the reference as Markdown: one table per section."""
    parts = [
        "# Settings",
        "Set them in a profile (`[section]`, then `key = value`) or by `--set section.key=value`.",
    ]
    for section, meaning, settings in settings_by_section():
        rows = [
            f"| `{s.name}` | {_cell(s.kind)} | `{s.default}` | {_cell(s.meaning)} |"
            for s in settings
        ]
        header = "| setting | type | default | meaning |\n|---|---|---|---|"
        parts.append("\n".join([f"## [{section}]\n\n{meaning}\n", header, *rows]))
    return "\n\n".join(parts) + "\n"


def show_settings(console: Console) -> None:
    """Print the reference for a terminal: each default as it is written in a profile."""
    for section, meaning, settings in settings_by_section():
        console.print(Text(f"\n[{section}]  {meaning}", style="bold"))
        table = Table.grid(padding=(0, 2), expand=True)
        table.add_column(ratio=2, overflow="fold")
        table.add_column(ratio=3)
        for setting in settings:
            kind = Text(f"\n{setting.kind}", style="dim")
            table.add_row(Text(f"{setting.name} = {setting.default}"), Text(setting.meaning) + kind)
        console.print(table)


def _section_of(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _describe(name: str, field: FieldInfo) -> Setting:
    default = field.get_default(call_default_factory=True)
    return Setting(
        name=name,
        kind=_kind_of(field.annotation),
        default=_value(default),
        meaning=" ".join((field.description or "").split()),
    )


def _kind_of(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(map(_value, arguments))
    if origin in (Union, UnionType):
        kinds = [_kind_of(part) for part in arguments if part is not NoneType]
        return " or ".join([*kinds, "unset"] if NoneType in arguments else kinds)
    if origin is tuple:
        inner = [_kind_of(part) for part in arguments if part is not Ellipsis]
        return f"list of {' or '.join(dict.fromkeys(inner))}"
    names = {bool: "true or false", int: "integer", float: "number", str: "text", Path: "path"}
    return names.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _value(value: Any) -> str:
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_value, value))}]"
    return f'"{value}"' if isinstance(value, str | Path) else str(value)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
