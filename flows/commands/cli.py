"""The command `waver`.

Exit status: 0 all went well; 1 a stage failed, or a check found what makes results untrustworthy;
2 a mistake that one clear sentence explains; 3 the run finished, but some videos or segments were
rejected.
"""

import os
import sys
from pathlib import Path
from typing import Annotated, cast

import typer

from flows.commands.cli_model import ablate, parity, predict
from flows.commands.options import HISTORY, Overrides, Profile, check_one_of
from flows.context.request import (
    EXPORT_KINDS,
    STAGES,
    TRAINING,
    TRAINING_FORMATS,
    ExportKind,
    RunRequest,
    TrainingFormat,
)
from flows.server.local_server import prepare_environment
from storage.datasets.consent import PURPOSES, Purpose
from storage.errors import ConfigError, StageError, WaverError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Finds ambivalence and hesitancy in videos of people talking about a change of behaviour.",
)
EXIT_MISTAKE = 2
EXIT_FAILED = 1
EXIT_INTERRUPTED = 130
_MAX_DETAILS = 50
_KINDS = (*EXPORT_KINDS, TRAINING)

_Stages = Annotated[list[str] | None, typer.Option(metavar="STAGE", help="|".join(STAGES))]


@app.command()
def run(
    data: Annotated[str, typer.Option(help="Folder of a BAH release, or of videos.")],
    profile: Profile = "default",
    store: Annotated[str, typer.Option(help="Folder or URL for all results.")] = ".waver/store",
    model: Annotated[
        list[str] | None,
        typer.Option(help="Infer with this model, instead of training one (repeatable: together)."),
    ] = None,
    start_at: Annotated[
        str | None, typer.Option("--from", metavar="STAGE", help="Run this stage and the later.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="STAGE", help="Run just this stage (repeatable).")
    ] = None,
    force: Annotated[
        list[str] | None,
        typer.Option(metavar="STAGE", help="Make this stage's results again (repeatable)."),
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Run the pipeline on a data set; what the store already holds is not made again."""
    _check_stages(start_at, *(only or ()), *(force or ()))
    request = RunRequest.model_validate(
        {
            "data": data, "profile": profile, "store": store,
            "model": tuple(model or ()),
            "start_at": start_at, "only": tuple(only or ()), "force": tuple(force or ()),
            "overrides": tuple(overrides or ()),
        }
    )  # fmt: skip
    prepare_environment(HISTORY)
    from flows.commands.run import run_and_show

    raise typer.Exit(run_and_show(request))


for _command in (predict, parity, ablate):
    app.command()(_command)


@app.command()
def check(
    data: Annotated[str, typer.Option(help="Folder of a BAH release, or of videos.")],
    store: Annotated[
        str, typer.Option(help="Store that may know the videos; none is made.")
    ] = ".waver/store",
    out: Annotated[Path | None, typer.Option(help="Parquet file to write the audit to.")] = None,
) -> None:
    """Audit a data set before any work: what it holds, and what makes results untrustworthy."""
    from flows.commands.check import check_and_show

    raise typer.Exit(check_and_show(data, store, out))


@app.command()
def export(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="|".join(_KINDS))],
    purpose: Annotated[str, typer.Option(help="|".join(PURPOSES))],
    data: Annotated[str, typer.Option(help="The data set of the run.")],
    out: Annotated[
        Path, typer.Option(help="File to write, .csv or .parquet; of training, a folder.")
    ],
    profile: Annotated[str, typer.Option(help="The profile of the run.")] = "default",
    store: Annotated[str, typer.Option(help="The store of the run.")] = ".waver/store",
    model: Annotated[
        list[str] | None, typer.Option(help="The model of the run (repeatable).")
    ] = None,
    layout: Annotated[
        str | None, typer.Option("--format", help=f"Of training: {'|'.join(TRAINING_FORMATS)}.")
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Write a finished run's rows for a purpose, without those that are not consented to.

    `training` is what a model is trained on, as a folder for other programs, with the command that
    trains there (--format ms-swift), or for Hugging Face's datasets (--format hf).
    """
    check_one_of("kind of export", kind, _KINDS)
    check_one_of("purpose", purpose, PURPOSES)
    _check_format(kind, layout)
    request = RunRequest(
        data=data, profile=profile, store=store, model=tuple(model or ()),
        overrides=tuple(overrides or ()),
    )  # fmt: skip
    prepare_environment(HISTORY)
    if kind == TRAINING:
        from flows.commands.export_training import write_training

        lines = write_training(request, cast(TrainingFormat, layout), cast(Purpose, purpose), out)
    else:
        from flows.commands.export import write_rows

        lines = write_rows(request, cast(ExportKind, kind), cast(Purpose, purpose), out).lines()
    for line in (*lines, f"Export: {out}"):
        typer.echo(line)


@app.command()
def invalidate(
    participant: Annotated[str, typer.Argument(metavar="PARTICIPANT", help="The id.")],
    store: Annotated[str, typer.Option(help="The store to remove them from.")] = ".waver/store",
    data: Annotated[
        str | None, typer.Option(help="The data set, to know all their videos; only read.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    undo: Annotated[
        bool, typer.Option("--undo", help="Let the next run use their videos again.")
    ] = False,
) -> None:
    """Remove a participant from every result in a store, and leave them out of every run to come.

    The exit status is 1 if a search of the whole store finds something left.
    """
    prepare_environment(HISTORY)
    from flows.commands import erase as forgetting

    if undo:
        forgetting.undo(store, participant)
        typer.echo("Their videos are used again from the next run on.")
        return
    found = forgetting.find_participant(store, participant, data)
    if not yes and sys.stdin.isatty():
        num_videos = len(found.traces.videos)
        typer.confirm(f"Remove all results of {num_videos} videos from {store!r}?", abort=True)
    report = forgetting.invalidate(found, Path(os.environ["PREFECT_HOME"]))
    for line in report.lines():
        typer.echo(line)
    if not report.scan.is_clean:
        raise typer.Exit(EXIT_FAILED)


@app.command()
def ui(
    port: Annotated[int, typer.Option(help="Port of the UI on this machine.")] = 4200,
) -> None:
    """Serve the Prefect UI on the history of the runs started here, until Ctrl-C."""
    prepare_environment(HISTORY)
    from flows.commands.run import serve_ui

    serve_ui(port)


@app.command()
def profiles() -> None:
    """List the profiles that come with Waver."""
    from flows.context.settings import profile_names

    for name in profile_names():
        typer.echo(name)


def _check_stages(*names: str | None) -> None:
    for name in names:
        if name is not None:
            check_one_of("stage", name, STAGES)


def _check_format(kind: str, layout: str | None) -> None:
    if kind == TRAINING:
        if layout is None:
            raise ConfigError(
                f"The export of {kind} needs --format, one of {', '.join(TRAINING_FORMATS)}."
            )
        check_one_of("format", layout, TRAINING_FORMATS)
    elif layout is not None:
        raise ConfigError(
            f"The export of {kind} takes no --format {layout!r}: its file's ending says it."
        )


def _tell(error: WaverError) -> None:
    typer.secho(f"waver: {error}", fg="red", err=True)
    for line in error.details[:_MAX_DETAILS]:
        typer.secho(f"  {line}", err=True)
    if len(error.details) > _MAX_DETAILS:
        typer.secho(f"  and {len(error.details) - _MAX_DETAILS} more", err=True)


def main() -> None:
    """Run the command line; a user's mistake ends in one sentence and exit status 2."""
    status = 0
    try:
        app()
    except SystemExit as end:
        status = int(end.code or 0)
    except WaverError as error:
        _tell(error)
        status = EXIT_FAILED if isinstance(error, StageError) else EXIT_MISTAKE
    if status == EXIT_INTERRUPTED:  # typer turns Ctrl-C into this status
        typer.secho("waver: stopped; what was finished is kept.", fg="red", err=True)
    sys.stdout.flush()
    sys.stderr.flush()
    # Prefect's background threads outlive the interpreter, and DuckDB's bindings then print a
    # page of leak warnings; all that has to be written is written by now.
    os._exit(status)


if __name__ == "__main__":
    main()
