"""What tables and lines in the terminal have in common."""

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text


def titled_table(title: str | Text, *, show_footer: bool = False) -> Table:
    """Return an empty table with its title above it, in the style of all of Waver's."""
    return Table(
        title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False,
        show_footer=show_footer,
    )  # fmt: skip


def printable(text: str) -> str:
    """Escape line breaks, control characters and marks that change the direction of text."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
