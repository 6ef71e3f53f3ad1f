from io import StringIO

import pytest
from rich.console import Console

from tasks.terminal import printable, titled_table


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a ü 中.mp4", "a ü 中.mp4"),
        ("two\nlines", "two\\nlines"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
    ],
)
def test_what_a_terminal_would_obey_is_escaped(text: str, expected: str) -> None:
    assert printable(text) == expected


def test_a_table_has_its_title_above_and_its_footer_below() -> None:
    table = titled_table("A title", show_footer=True)
    table.add_column("name", footer="a total")
    table.add_row("a row")
    console = Console(file=StringIO(), width=40)
    console.print(table)
    lines = console.file.getvalue().split("\n")  # type: ignore[attr-defined]
    shown = [line.strip() for line in lines if line.strip(" ─")]
    assert shown == ["A title", "name", "a row", "a total"]
