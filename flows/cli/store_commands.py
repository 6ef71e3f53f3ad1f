"""Commands on a store: `plan`."""

from typing import Annotated

import typer

from flows.commands.options import DEFAULT_STORE, Store

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def plan(
    store: Store = DEFAULT_STORE,
    estimate: Annotated[
        float | None,
        typer.Option(metavar="HOURS", help="Estimate what these hours of video would cost."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what a run would compute, and why, or what hours of video would cost; writes nothing."""
    if estimate is not None:
        from flows.operations.estimate import show_estimate

        show_estimate(store, estimate, as_json=as_json)
