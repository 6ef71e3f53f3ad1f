"""Commands on a data set and its store: `run`, `check`, `export` and `erase`."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from flows.commands.exit_status import ExitStatus
from flows.commands.options import (
    DEFAULT_STORE,
    EXPORT_KINDS,
    HISTORY,
    TRAINING,
    TRAINING_FORMATS,
    AcceptDuplicates,
    Data,
    ExportKind,
    Overrides,
    Profile,
    Store,
    TrainingFormat,
    Verify,
    check_one_of,
    check_stages,
    completion_of,
    run_request,
    stages_option,
)
from flows.server.environment import prepare_environment
from storage.datasets.consent import PURPOSES, Purpose
from storage.errors import ConfigError
from storage.identity import quote_spelling

if TYPE_CHECKING:  # what it imports is imported when Prefect's environment is prepared
    from flows.context.request import RunRequest

_KINDS = (*EXPORT_KINDS, TRAINING)


def run(
    data: Data,
    profile: Profile = "default",
    store: Store = DEFAULT_STORE,
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL",
            help="Predict with this model (folder or hub name) instead of training one; several "
            "form an ensemble (repeatable).",
        ),
    ] = None,
    start_at: Annotated[
        str | None, stages_option("--from", "Run this stage and those after it")
    ] = None,
    only: Annotated[
        list[str] | None, stages_option("--only", "Run only this stage (repeatable)")
    ] = None,
    force: Annotated[
        list[str] | None, stages_option("--force", "Recompute this stage's results (repeatable)")
    ] = None,
    partition: Annotated[
        str | None,
        typer.Option(
            metavar="K/N",
            help="With one --only: run it on partition K of N of its items, beside runs of the "
            "other partitions on other nodes.",
        ),
    ] = None,
    verify: Verify = False,
    accept_duplicates: AcceptDuplicates = None,
    overrides: Overrides = None,
) -> None:
    """Run the pipeline on a data set, reusing the results that the store already holds."""
    check_stages(start_at, only, force)  # before anything is written
    prepare_environment(HISTORY)
    from flows.commands.run import run_and_show

    request = run_request(
        data=data, profile=profile, store=store, model=model, start_at=start_at, only=only,
        force=force, partition=partition, verify=verify, accept_duplicates=accept_duplicates,
        overrides=overrides,
    )  # fmt: skip
    raise typer.Exit(run_and_show(request))


def check(
    data: Data,
    store: Annotated[
        str,
        typer.Option(
            metavar="STORE", help="Store with earlier results for these videos; none is created."
        ),
    ] = DEFAULT_STORE,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File to write the audit to, .parquet.")
    ] = None,
    verify: Verify = False,
    accept_duplicates: AcceptDuplicates = None,
) -> None:
    """Audit a data set: what it holds, and problems that would make results untrustworthy.

    The exit status is 1 if there are such problems.
    """
    from flows.commands.check import check_and_show

    raise typer.Exit(check_and_show(data, store, out, accept_duplicates, verify=verify))


Kind = Annotated[
    str,
    typer.Argument(metavar="KIND", help=", ".join(_KINDS), autocompletion=completion_of(_KINDS)),
]
PurposeName = Annotated[
    str,
    typer.Option(
        metavar="PURPOSE", help=", ".join(PURPOSES), autocompletion=completion_of(PURPOSES)
    ),
]
Layout = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="FORMAT",
        help=f"Format of KIND training: {', '.join(TRAINING_FORMATS)}.",
        autocompletion=completion_of(TRAINING_FORMATS),
    ),
]


def export(
    kind: Kind,
    purpose: PurposeName,
    data: Annotated[str, typer.Option(metavar="FOLDER", help="Data set of the run.")],
    out: Annotated[
        Path,
        typer.Option(
            metavar="PATH", help="File to write, .csv or .parquet; a folder for KIND training."
        ),
    ],
    profile: Annotated[
        str, typer.Option(metavar="PROFILE", help="Profile of the run.")
    ] = "default",
    store: Annotated[str, typer.Option(metavar="STORE", help="Store of the run.")] = DEFAULT_STORE,
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="MODEL", help="Model that the run was given (repeatable)."),
    ] = None,
    layout: Layout = None,
    overrides: Overrides = None,
) -> None:
    """Export a finished run's rows for a purpose, without videos that lack consent to it.

    KIND training exports the training samples as a folder: for ms-swift with the command that
    trains on them (--format ms-swift), or for Hugging Face datasets (--format hf).
    """
    check_one_of("kind of export", kind, _KINDS)
    check_one_of("purpose", purpose, PURPOSES)
    _check_format(kind, layout)
    prepare_environment(HISTORY)
    request = run_request(data=data, profile=profile, store=store, model=model, overrides=overrides)
    for line in (*_write(request, kind, cast(Purpose, purpose), layout, out), f"Export: {out}"):
        typer.echo(line)


def _write(
    request: "RunRequest", kind: str, purpose: Purpose, layout: str | None, out: Path
) -> Sequence[str]:
    """Write the export and return the lines that describe it."""
    if kind == TRAINING:
        from flows.commands.export_training import write_training

        return write_training(request, cast(TrainingFormat, layout), purpose, out)
    from flows.commands.export import write_rows

    return write_rows(request, cast(ExportKind, kind), purpose, out).lines()


def _check_format(kind: str, layout: str | None) -> None:
    if kind == TRAINING:
        if layout is None:
            raise ConfigError(
                f"The export {kind!r} needs --format: expected one of "
                f"{', '.join(TRAINING_FORMATS)}."
            )
        check_one_of("format", layout, TRAINING_FORMATS)
    elif layout is not None:
        raise ConfigError(
            f"The export {kind!r} takes no --format {layout!r}: the suffix of --out sets its "
            "format."
        )


def erase(
    participant: Annotated[
        str, typer.Argument(metavar="PARTICIPANT", help="The participant's id in the data set.")
    ],
    store: Annotated[
        str, typer.Option(metavar="STORE", help="Store to erase them from.")
    ] = DEFAULT_STORE,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER", help="Data set that lists all their videos; it is only read."
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not prompt for confirmation.")] = False,
    undo: Annotated[
        bool, typer.Option("--undo", help="Let future runs use their videos again.")
    ] = False,
) -> None:
    """Erase a participant from every result in a store, and exclude them from future runs.

    The exit status is 1 if a search of the whole store still finds traces of them.
    """
    prepare_environment(HISTORY)
    from flows.commands import erase as erasure

    if undo:
        erasure.undo_erasure(store, participant)
        typer.echo("Future runs use their videos again.")
        return
    found = erasure.find_participant(store, participant, data)
    if not yes and sys.stdin.isatty():
        _confirm_erasure(store, len(found.traces.videos), found.traces.spellings)
    elif not yes:
        erasure.check_one_participant(found)
    report = erasure.erase_found(found, Path(os.environ["PREFECT_HOME"]))
    for line in report.lines():
        typer.echo(line)
    if not report.scan.is_clean:
        raise typer.Exit(ExitStatus.FAILED)


def _confirm_erasure(store: str, num_videos: int, ids: Sequence[str]) -> None:
    """Prompt for confirmation, with every id that is a spelling of the participant's."""
    under = f", under {len(ids)} ids: {', '.join(map(quote_spelling, ids))}" if ids[1:] else ""
    typer.confirm(f"Erase all results of {num_videos} videos from {store!r}{under}?", abort=True)
