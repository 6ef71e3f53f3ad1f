"""What several commands take, and where the history of runs lies."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, cast

import typer

from flows.context.request import StageName
from storage.errors import ConfigError

HISTORY = Path(".waver/prefect")

Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Override a setting (repeatable)."),
]
ASKING_STAGES: tuple[StageName, ...] = ("segment", "transcribe", "manifest", "infer")
Forced = Annotated[
    list[str] | None,
    typer.Option(
        "--force",
        metavar="STAGE",
        help=f"Make this stage's results again (repeatable): {'|'.join(ASKING_STAGES)}.",
    ),
]
Profile = Annotated[str, typer.Option(help="Name of a profile, or a .toml file.")]


def forced_stages(names: Sequence[str] | None) -> tuple[StageName, ...]:
    """Check the stages that a command which asks a model shall make again; raises ConfigError."""
    for name in names or ():
        check_one_of("stage to make again", name, ASKING_STAGES)
    return cast("tuple[StageName, ...]", tuple(names or ()))


def check_one_of(what: str, name: str, known: Sequence[str]) -> None:
    """Refuse a name that is not among those known; raises ConfigError."""
    if name not in known:
        raise ConfigError(f"There is no {what} {name!r}: expected one of {', '.join(known)}.")
