"""Every command, setting and path that a README names exists and parses; no command is run."""

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
from pydantic import BaseModel

from flows.cli import main as cli
from flows.context.settings import Settings, load_settings

ROOT = Path(__file__).parents[1]
READMES = sorted(
    path.relative_to(ROOT)
    for pattern in (
        "*.md",
        *(f"{room}/**/*.md" for room in ("flows", "tasks", "storage", "infra", "tests")),
    )
    for path in ROOT.glob(pattern)
)
SEPARATORS = {"&&", "||", ";", "|", ">", "<"}
NOT_CHECKED = {"export", "for", "do", "done", "python3.11", "../swift/bin/pip"}


class Parsed(BaseException):
    """Ends a command where its arguments have been parsed."""


def shell_blocks(text: str) -> str:
    return "\n".join(re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL))


def commands_in(text: str) -> Iterator[tuple[str, ...]]:
    """Yield the commands of a shell script, without comments, redirections and variables."""
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(re.sub(r"\$\w+", "0", line), posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        groups = groupby(lexer, key=lambda word: word in SEPARATORS)
        for is_separator, words in groups:
            command = () if is_separator else tuple(words)
            if command:
                yield command
            if is_separator and next(iter(words), None) in {">", "<"}:
                next(groups, None)


def ids_of(cases: Sequence[tuple[Path, Any]]) -> list[str]:
    return [f"{path.parent}: {' '.join(c) if isinstance(c, tuple) else c}" for path, c in cases]


def check_make(targets: Sequence[str]) -> None:
    rules = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert targets
    assert set(targets) <= set(rules)


def check_waver(arguments: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the real command up to its work, then check the profile and the overridden settings."""

    def stop(*_: object, **__: object) -> None:
        raise Parsed

    for name in (
        "cli.server_commands.prepare_environment",
        "cli.data_commands.prepare_environment",
        "cli.model_commands.prepare_environment",
        "commands.check.check_and_show",
    ):
        monkeypatch.setattr(f"flows.{name}", stop)
    given: dict[str, Any] = {}
    group: Any = typer.main.get_command(cli.app)
    for command in group.commands.values():
        command.callback = _recording(command.callback, given)
    with suppress(Parsed):
        group.main(args=list(arguments), prog_name="waver", standalone_mode=False)
    load_settings(given.get("profile") or "default", tuple(given.get("overrides") or ()))


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


COMMANDS = [
    (readme, command)
    for readme in READMES
    for command in dict.fromkeys(commands_in(shell_blocks((ROOT / readme).read_text())))
    if command[0] not in NOT_CHECKED
]


@pytest.mark.parametrize(("readme", "command"), COMMANDS, ids=ids_of(COMMANDS))
def test_every_command_in_a_readme_parses(
    readme: Path, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    program, *arguments = command
    checks: dict[str, Callable[[], object]] = {
        "make": lambda: check_make(arguments),
        ".venv/bin/waver": lambda: check_waver(arguments, monkeypatch),
        ".venv/bin/python": lambda: check_python(arguments, monkeypatch),
        ".venv/bin/prefect": lambda: check_prefect(arguments),
        ".ci/run": (ROOT / ".ci" / "run").read_text,
    }
    assert program in checks, f"{readme} runs {program!r}, which no check knows."
    checks[program]()


def code_spans(readme: Path) -> list[str]:
    """Return the inline code of a README."""
    text = re.sub(r"^```.*?^```", "", (ROOT / readme).read_text(), flags=re.MULTILINE | re.DOTALL)
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text)]


def setting_names(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield prefix + name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from setting_names(field.annotation, f"{prefix}{name}.")


@pytest.mark.parametrize("readme", READMES, ids=str)
def test_every_command_and_setting_in_the_prose_of_a_readme_exists(readme: Path) -> None:
    group: Any = typer.main.get_command(cli.app)
    known = set(setting_names(Settings))
    sections = "|".join(Settings.model_fields)
    for span in code_spans(readme):
        if match := re.match(r"(?:\.venv/bin/)?waver ([a-z]+)", span):
            assert match[1] in group.commands, span
        if match := re.match(r"make ([a-z-]+)$", span):
            check_make([match[1]])
        for override in re.findall(r'--set "?([a-z][\w.]*=[^" ]+)', span):
            load_settings("default", (override,))
        for name in re.findall(rf"\b(?:{sections})(?:\.[a-z_]+)+\b(?![./])", span):
            assert name in known or name.endswith(".py"), span


@pytest.mark.parametrize("readme", READMES, ids=str)
def test_every_link_and_path_in_a_readme_exists(readme: Path) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]+)", (ROOT / readme).read_text())
    for link in links:
        assert (ROOT / readme.parent / link).exists(), link
    for span in code_spans(readme):
        if re.fullmatch(r"(flows|tasks|storage|infra|tests)/[\w./*-]+", span):
            assert list(ROOT.glob(span.rstrip("/"))), span


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (".venv/bin/waver rum --data DIR", "No such command"),
        (".venv/bin/waver run --dat DIR", "No such option"),
        (".venv/bin/waver run", "data"),
        (".venv/bin/waver run --data DIR --set segment.length=3", "segment.length"),
        (".venv/bin/waver run --data DIR --profile paper", "paper"),
        (".venv/bin/waver run --data DIR --only segments", "segments"),
        (".venv/bin/waver export verdict --purpose internal --data DIR --out FILE", "verdict"),
        (".venv/bin/python -m infra.zoo --outs DIR", "2"),
        (".venv/bin/python -m infra.zo --out DIR", "infra.zo"),
        (".venv/bin/prefect worker begin --pool waver", "begin"),
        ("rm file", "no check knows"),
        ("make everything", "everything"),
    ],
)
def test_a_wrong_command_is_found(
    command: str, error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (words,) = commands_in(command)
    with pytest.raises(BaseException, match=re.escape(error)):
        test_every_command_in_a_readme_parses(Path("README.md"), words, monkeypatch)


def test_commands_are_read_as_a_shell_reads_them() -> None:
    script = (
        'waver predict a.mp4 "b c.mov" --json > p.json  # a comment\n'
        "for fold in 0 1; do\n"
        "    waver run --set manifest.fold=$fold \\\n        --data DIR\n"
        "done\n"
        "a && b 'c d'\n"
    )
    assert list(commands_in(script)) == [
        ("waver", "predict", "a.mp4", "b c.mov", "--json"),
        ("for", "fold", "in", "0", "1"),
        ("do",),
        ("waver", "run", "--set", "manifest.fold=0", "--data", "DIR"),
        ("done",),
        ("a",),
        ("b", "c d"),
    ]
