"""The settings reference lists every setting with its default, as the models define them."""

import io
from collections.abc import Iterator

import pytest
from pydantic import BaseModel
from rich.console import Console

from flows.commands.settings import markdown, settings_by_section, show_settings
from flows.context.overrides import read_overrides
from flows.context.settings import Settings, load_settings


def leaves(model: BaseModel, prefix: str = "") -> Iterator[tuple[str, object]]:
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def test_every_setting_is_listed_once_and_explained():
    listed = [(section, s) for section, _, settings in settings_by_section() for s in settings]
    names = [f"{section}.{setting.name}" for section, setting in listed]
    assert names == sorted(set(names), key=names.index)
    assert set(names) == {name for name, _ in leaves(Settings())}
    assert all(setting.meaning and setting.kind for _, setting in listed)


def test_a_listed_default_is_valid_toml_for_its_setting():
    for section, _, settings in settings_by_section():
        for setting in settings:
            if setting.default != "unset":
                override = f"{section}.{setting.name}={setting.default}"
                assert load_settings("default", read_overrides([override]).given()), override


@pytest.mark.parametrize("name", ["segment.max_segment_ms", "resources.infer.num_gpus"])
def test_the_page_holds_a_settings_default(name):
    section, _, key = name.rpartition(".")
    default = dict(leaves(Settings()))[name]
    (row,) = [
        line
        for line in markdown().split(f"## [{section}]\n")[1].split("\n## ")[0].splitlines()
        if line.startswith(f"| `{key}` |")
    ]
    assert f"`{'unset' if default is None else default}`" in row


def test_the_terminal_shows_every_section():
    console = Console(width=100, file=io.StringIO())
    show_settings(console)
    text = console.file.getvalue()
    assert all(f"[{section}]" in text for section, _, _ in settings_by_section())
