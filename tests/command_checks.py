"""Check that commands parse, up to the point where they would do their work."""

import argparse
import importlib
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import typer

from flows.cli import main as cli
from flows.context.overrides import read_overrides
from flows.context.settings import load_settings

ROOT = Path(__file__).parents[1]
SEPARATORS = {"&&", "||", ";", "|", ">", "<"}


class Parsed(BaseException):
    """Ends a command where its arguments have been parsed."""


def commands_in(text: str) -> Iterator[tuple[str, ...]]:
    """Yield the commands of a shell script, without comments, redirections and variables."""
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(re.sub(r"\$\w+", "1", line), posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        groups = groupby(lexer, key=lambda word: word in SEPARATORS)
        for is_separator, words in groups:
            command = () if is_separator else tuple(words)
            if command:
                yield command
            if is_separator and next(iter(words), None) in {">", "<"}:
                next(groups, None)


def check_make(targets: Sequence[str]) -> None:
    rules = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert targets
    missing = set(targets) - set(rules)
    assert not missing, f"the Makefile has no target {missing}"


def check_waver(arguments: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the real command up to its work, then check the profile and the overridden settings."""

    def stop(*_: object, **__: object) -> None:
        raise Parsed

    for name in (
        "cli.server_commands.prepare_environment",
        "cli.data_commands.prepare_environment",
        "cli.model_commands.prepare_environment",
        "cli.store_commands.prepare_environment",
        "commands.check.check_and_show",
    ):
        monkeypatch.setattr(f"flows.{name}", stop)
    given: dict[str, Any] = {}
    group: Any = typer.main.get_command(cli.app)
    for command in group.commands.values():
        command.callback = _recording(command.callback, given)
        for option in command.params:
            if info := getattr(option.type_descriptor, "parameter_info", None):
                info.exists = False  # files are those of the reader
    with suppress(Parsed):
        group.main(args=list(arguments), prog_name="waver", standalone_mode=False)
    overrides = read_overrides(given.get("overrides") or ())
    load_settings(given.get("profile") or "default", overrides.given())


def _recording(callback: Callable[..., Any], given: dict[str, Any]) -> Callable[..., Any]:
    def record(**options: Any) -> Any:
        given.update(options)
        return callback(**options)

    return record


def check_python(arguments: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Find the module; one of this repository parses its arguments, and ends there."""
    flag, name, *options = arguments
    assert flag == "-m"
    if name == "pytest":
        assert all((ROOT / option).exists() for option in options if "/" in option)
        return
    is_package = (ROOT / name.replace(".", "/")).is_dir()
    module = importlib.import_module(f"{name}.__main__" if is_package else name)
    parse = argparse.ArgumentParser.parse_args

    def parse_and_stop(parser: argparse.ArgumentParser, *given: Any) -> None:
        parse(parser, *given)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
    monkeypatch.setattr("sys.argv", [name, *options])
    with pytest.raises(Parsed):
        module.main()


def check_prefect(arguments: Sequence[str]) -> None:
    from prefect.cli._app import _app

    _, of_all_commands, *_ = _app.meta.parse_args(arguments, exit_on_error=False)
    _app.parse_args(of_all_commands.arguments["tokens"], exit_on_error=False)


def check_ray(arguments: Sequence[str]) -> None:
    from ray.scripts.scripts import cli as ray

    name, *options = arguments
    ray.commands[name].make_context(name, options)


# Programs that are not Waver's: checked are the paths of this repository that they are passed, and
# the command of Waver that they start.
TOOLS = {"cp", "docker", "kubectl", "mv", "openssl", "pg_dump", "rsync", "srun", "ssh", "sudo"}


def check_tool(words: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> None:
    missing = [word for word in words if word.startswith("infra/") and not (ROOT / word).exists()]
    assert not missing, f"there is no {missing}"
    if inner := _command_within(words):
        check_command([f".venv/bin/{inner[0].removeprefix('.venv/bin/')}", *inner[1:]], monkeypatch)
    for line in (word for word in words if " .venv/bin/" in word):  # for a shell elsewhere
        for command in commands_in(line):
            if command[0] != "cd":
                check_command(command, monkeypatch)


def _command_within(words: Sequence[str]) -> Sequence[str]:
    """Return the command that srun, sudo for another user, or exec of docker and kubectl, runs."""
    if words[0] == "srun":
        return words[1:]
    if words[0] == "sudo":
        return words[3:] if words[1] == "-u" and words[3].startswith(".venv/") else ()
    if "exec" not in words:
        return ()
    rest = words[words.index("exec") + 2 :]  # after the service or the pod
    return rest[1:] if rest[0] == "--" else rest


def check_command(command: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail unless a command exists and its arguments parse; nothing is run."""
    while re.match("[A-Z_]+=", command[0]):  # a variable of the command's environment
        command = command[1:]
    program, *arguments = command
    checks: dict[str, Callable[[], object]] = {
        "make": lambda: check_make(arguments),
        ".venv/bin/waver": lambda: check_waver(arguments, monkeypatch),
        ".venv/bin/python": lambda: check_python(arguments, monkeypatch),
        ".venv/bin/ray": lambda: check_ray(arguments),
        ".venv/bin/prefect": lambda: check_prefect(arguments),
        ".ci/run": (ROOT / ".ci" / "run").read_text,
    }
    checks |= {tool: lambda: check_tool(command, monkeypatch) for tool in TOOLS}
    assert program in checks, f"no check knows {program!r}"
    checks[program]()
