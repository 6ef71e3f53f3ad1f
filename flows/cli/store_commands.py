"""Commands on a store: `plan`, `status`, `rejected` and `gc`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.commands.options import (
    DEFAULT_STORE,
    HISTORY,
    AcceptDuplicates,
    Overrides,
    Profile,
    Store,
    Verify,
    check_one_of,
    check_stages,
    run_request,
    stages_option,
)
from flows.context.stage_names import STAGES
from flows.server.environment import prepare_environment
from storage.errors import ConfigError

if TYPE_CHECKING:  # what it imports is imported when Prefect's environment is prepared
    from flows.context.request import RunRequest

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
OptionalData = Annotated[
    str | None, typer.Option("--data", metavar="FOLDER", help="The data set of the run.")
]
Models = Annotated[
    list[str] | None,
    typer.Option("--model", metavar="MODEL", help="Model that the run is given (repeatable)."),
]


def plan(
    data: OptionalData = None,
    profile: Profile = "default",
    store: Store = DEFAULT_STORE,
    model: Models = None,
    start_at: Annotated[
        str | None, stages_option("--from", "Plan this stage and those after it")
    ] = None,
    only: Annotated[
        list[str] | None, stages_option("--only", "Plan only this stage (repeatable)")
    ] = None,
    force: Annotated[
        list[str] | None, stages_option("--force", "Recompute this stage's results (repeatable)")
    ] = None,
    verify: Verify = False,
    accept_duplicates: AcceptDuplicates = None,
    overrides: Overrides = None,
    estimate: Annotated[
        float | None,
        typer.Option(
            metavar="HOURS", help="Estimate instead what these hours of video would cost."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what a run with these options would compute and why, or what hours of video would cost.

    It writes nothing, starts no server, and downloads no model.
    """
    if estimate is not None:
        from flows.operations.estimate import show_estimate

        show_estimate(store, estimate, as_json=as_json)
        return
    if data is None:
        raise ConfigError("Name the data set with --data FOLDER, or pass --estimate HOURS.")
    check_stages(start_at, only, force)  # before anything is written
    _download_no_model()
    from flows.operations.plan import show_plan

    request = run_request(
        data=data, profile=profile, store=store, model=model, start_at=start_at, only=only,
        force=force, verify=verify, accept_duplicates=accept_duplicates, overrides=overrides,
    )  # fmt: skip
    show_plan(request, as_json=as_json)


def status(
    data: OptionalData = None,
    profile: Profile = "default",
    store: Store = DEFAULT_STORE,
    model: Models = None,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Show what a store holds, its last runs, what they rejected, and who works in it now.

    With --data, the variants of these settings are marked.
    """
    _download_no_model()
    from flows.operations.status import show_status

    request = _request_if_named(data, profile, store, model, overrides)
    show_status(store, request, as_json=as_json)


def rejected(
    data: OptionalData = None,
    profile: Profile = "default",
    store: Store = DEFAULT_STORE,
    model: Models = None,
    overrides: Overrides = None,
    stage: Annotated[
        list[str] | None, stages_option("--stage", "Only what this stage rejected (repeatable)")
    ] = None,
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="Only reasons that contain this text.")
    ] = "",
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File to write them to, .csv, .parquet or .json."),
    ] = None,
    retry: Annotated[
        bool,
        typer.Option(
            "--retry",
            help="Run again, computing those anew whose reason may pass: limits of time and "
            "memory, disks, processes that died. Needs the run's --data and other options.",
        ),
    ] = False,
) -> None:
    """List the videos and segments that stages rejected, with the reasons; of one run with --data.

    The list names videos.
    """
    for name in stage or ():
        check_one_of("stage", name, STAGES)
    if retry:
        prepare_environment(HISTORY)
    else:
        _download_no_model()
    from flows.operations.rejected import Filter, check_retry, retry_rejected, show_rejected

    chosen = Filter(stages=tuple(stage or ()), text=reason)
    request = _request_if_named(data, profile, store, model, overrides)
    if retry:
        raise typer.Exit(retry_rejected(check_retry(request, out), chosen))
    show_rejected(store, request, chosen, out)


def gc(
    store: Store = DEFAULT_STORE,
    profile: Annotated[
        list[str] | None,
        typer.Option(metavar="PROFILE", help="Keep the results of this profile too (repeatable)."),
    ] = None,
    keep_days: Annotated[
        float,
        typer.Option(metavar="DAYS", help="Keep variants and logs written in these last days."),
    ] = 7,
    delete: Annotated[
        bool, typer.Option("--delete", help="Remove it; otherwise it is only listed.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List, or remove, what no report, trained model, profile or recent run of a store needs."""
    _download_no_model()
    from flows.operations.gc import collect_and_show

    collect_and_show(store, tuple(profile or ()), keep_days, delete=delete, as_json=as_json)


def _request_if_named(
    data: str | None,
    profile: str,
    store: str,
    model: list[str] | None,
    overrides: list[str] | None,
) -> "RunRequest | None":
    """Return the request of the run that these options describe; ``None`` without a data set."""
    if data is None:
        return None
    return run_request(data=data, profile=profile, store=store, model=model, overrides=overrides)


def _download_no_model() -> None:
    """Prepare the environment of a command that only reads."""
    prepare_environment(HISTORY)
    os.environ["HF_HUB_OFFLINE"] = "1"
