"""What several commands take, and where the history of runs lies."""

from pathlib import Path
from typing import Annotated

import typer

HISTORY = Path(".waver/prefect")

Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Override a setting (repeatable)."),
]
Profile = Annotated[str, typer.Option(help="Name of a profile, or a .toml file.")]
