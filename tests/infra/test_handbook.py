"""What the operator's handbook quotes exists: messages in the code, units of systemd."""

import ast
import configparser
import re
from collections.abc import Iterator
from pathlib import Path

import prefect
import pytest

from tests.command_checks import ROOT, check_command

HANDBOOK = (ROOT / "infra" / "README.md").read_text()
ROOMS = tuple(ROOT / name for name in ("flows", "tasks", "storage"))
VALUE = "…"


def texts_in(folder: Path) -> Iterator[str]:
    """Yield every string of the sources below a folder; a value in it is an ellipsis."""
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.JoinedStr):
                yield "".join(_part(value) for value in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield re.sub("%[sd]", VALUE, node.value)


def _part(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else VALUE


def quoted_messages(text: str) -> list[str]:
    """Return the messages in the first column of the table of errors."""
    _, _, table = text.partition("| message |")
    rows = (line for line in table.splitlines()[2:] if line.startswith("|"))
    return [quote for row in rows for quote in re.findall(r"`([^`]+)`", row.split(" | ")[0])]


@pytest.fixture(scope="module")
def known_texts() -> str:
    ours = "\n".join(text for room in ROOMS for text in texts_in(room))
    orchestration = Path(prefect.__file__).parent / "server" / "orchestration"
    return ours + "\n" + "\n".join(texts_in(orchestration))


@pytest.mark.parametrize("message", quoted_messages(HANDBOOK))
def test_every_message_in_the_table_of_errors_is_one_of_the_code(
    message: str, known_texts: str
) -> None:
    assert message in known_texts


def test_a_message_that_no_code_has_is_found(known_texts: str) -> None:
    assert "No space left while writing to …" in known_texts
    assert "No space is left" not in known_texts
    assert quoted_messages("| message | action |\n|---|---|\n| `a … b`, or `c` | `d` |\n") == [
        "a … b",
        "c",
    ]


def test_the_unit_of_systemd_starts_a_command_that_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.read(ROOT / "infra" / "waver.service")
    folder = unit["Service"]["WorkingDirectory"]
    command = unit["Service"]["ExecStart"].replace(f"{folder}/", "").split()
    check_command(command, monkeypatch)
    assert unit["Service"]["Restart"] == "always"
