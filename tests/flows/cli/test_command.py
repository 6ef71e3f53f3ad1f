"""Every option and argument of every command rejects an empty value."""

from typing import Any

import pytest
import typer

from flows.cli import main as cli
from storage.errors import ConfigError

GROUP: Any = typer.main.get_command(cli.app)


def names() -> list[tuple[str, str]]:
    """Every parameter that takes a text or a path, with its command."""
    return [
        (command, max(parameter.opts, key=len) if parameter.opts[0][0] == "-" else "")
        for command, declared in GROUP.commands.items()
        for parameter in declared.params
        if any(kind in str(parameter.type_descriptor.annotation) for kind in ("str", "Path"))
    ]


@pytest.mark.parametrize("value", ["", "  "])
@pytest.mark.parametrize(("command", "option"), names())
def test_an_empty_value_is_a_mistake_and_never_the_current_folder(
    command: str, option: str, value: str
) -> None:
    arguments = [command, option, value] if option else [command, value]
    with pytest.raises(ConfigError, match="is given an empty value") as caught:
        GROUP.main(args=arguments, standalone_mode=False)
    assert option in str(caught.value)


def test_the_paths_of_most_commands_are_among_them() -> None:
    assert {
        ("run", "--data"), ("run", "--store"), ("run", "--profile"), ("run", "--model"),
        ("check", "--out"), ("predict", ""), ("erase", "--data"), ("export", "--out"),
    } <= set(names())  # fmt: skip
