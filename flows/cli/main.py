"""The command `waver`: its help, and how it reports errors and ends."""

import os
import sys
from typing import Annotated

import typer

from flows.cli.command import Command
from flows.cli.data_commands import check, erase, export, run
from flows.cli.model_commands import ablate, parity, predict
from flows.cli.server_commands import deploy, retry, runs, serve, ui
from flows.cli.store_commands import gc, plan, rejected, status
from flows.commands.exit_status import MEANINGS, ExitStatus
from flows.commands.termination import Terminated, raise_on_termination
from flows.commands.version import waver_version
from storage.errors import StageError, WaverError

_MAX_DETAILS = 50
_EPILOG = "\n".join(
    [
        "Exit statuses:",
        *(f"{status:>5}  {meaning}" for status, meaning in MEANINGS.items()),
        "",
        "Run `waver --install-completion` once to complete commands and options with the Tab key.",
    ]
)

app = typer.Typer(
    name="waver",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Detect ambivalence and hesitancy (A/H) in videos of people talking about changing a "
    "health behavior.",
    epilog=_EPILOG,
)


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"waver {waver_version()}")
        raise typer.Exit


@app.callback()
def waver(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Accept the options that come before a command."""


_COMMANDS = (
    run, predict, check, export, parity, ablate, erase,
    deploy, serve, ui, runs, retry, plan, status, rejected, gc,
)  # fmt: skip
for _command in _COMMANDS:
    app.command(cls=Command)(_command)


@app.command()
def profiles() -> None:
    """List the built-in profiles."""
    from flows.context.settings import profile_names

    for name in profile_names():
        typer.echo(name)


@app.command()
def settings(
    markdown: Annotated[
        bool, typer.Option("--markdown", help="As Markdown, for a page of documentation.")
    ] = False,
) -> None:
    """List every setting with its type, default and meaning."""
    from rich.console import Console

    from flows.commands import settings as reference

    if markdown:
        typer.echo(reference.markdown(), nl=False)
    else:
        reference.show_settings(Console())


def _print_error(error: WaverError) -> None:
    typer.secho(f"waver: {error}", fg="red", err=True)
    for line in error.details[:_MAX_DETAILS]:
        typer.secho(f"  {line}", err=True)
    if len(error.details) > _MAX_DETAILS:
        typer.secho(f"  and {len(error.details) - _MAX_DETAILS} more", err=True)


def main() -> None:
    """Run the command line; a mistake ends in one sentence and exit status 2."""
    status = 0
    raise_on_termination()
    try:
        app(prog_name="waver")
    except SystemExit as end:
        status = int(end.code or 0)
    except Terminated as end:
        status = 128 + end.number
        typer.secho(f"waver: {end}; finished results are kept.", fg="red", err=True)
    except WaverError as error:
        _print_error(error)
        status = ExitStatus.FAILED if isinstance(error, StageError) else ExitStatus.MISTAKE
    if status == ExitStatus.INTERRUPTED:  # typer turns Ctrl-C into this status
        typer.secho("waver: interrupted; finished results are kept.", fg="red", err=True)
    sys.stdout.flush()
    sys.stderr.flush()
    # Prefect's background threads outlive the interpreter, and DuckDB's bindings then print a
    # page of leak warnings; everything has been written by now.
    os._exit(status)


if __name__ == "__main__":
    main()
