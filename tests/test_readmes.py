"""Every command, setting and path that a README names exists and parses; no command is run."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic import BaseModel

from flows.cli import main as cli
from flows.context.overrides import read_overrides
from flows.context.settings import Settings, load_settings
from tests.command_checks import ROOT, check_command, check_make, commands_in

READMES = sorted(
    path.relative_to(ROOT)
    for pattern in (
        "*.md",
        *(f"{room}/**/*.md" for room in ("flows", "tasks", "storage", "infra", "tests")),
    )
    for path in ROOT.glob(pattern)
)
NOT_CHECKED = {"export", "cd", "for", "do", "done", "wait", "&", "python3.11", "../swift/bin/pip"}


def shell_blocks(text: str) -> str:
    return "\n".join(re.findall(r"^```(?:ba)?sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL))


def ids_of(cases: Sequence[tuple[Path, Any]]) -> list[str]:
    return [f"{path.parent}: {' '.join(c) if isinstance(c, tuple) else c}" for path, c in cases]


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
    check_command(command, monkeypatch)


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
            load_settings("default", read_overrides([override]).given())
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
        ("X=1 .venv/bin/ray start --heads", "heads"),
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
        ("waver", "run", "--set", "manifest.fold=1", "--data", "DIR"),
        ("done",),
        ("a",),
        ("b", "c d"),
    ]
