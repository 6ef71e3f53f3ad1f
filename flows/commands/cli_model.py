"""The commands that ask a model: about single videos, of two engines, and with parts left out."""

from pathlib import Path
from typing import Annotated

import typer

from flows.commands.options import HISTORY, Forced, Overrides, Profile, forced_stages
from flows.context.request import RunRequest
from flows.server.local_server import prepare_environment


def predict(
    videos: Annotated[list[Path], typer.Argument(metavar="VIDEO...", help="Files; only read.")],
    model: Annotated[
        list[str],
        typer.Option(help="Folder or hub name of the model to ask (repeatable: together)."),
    ],
    profile: Profile = "default",
    store: Annotated[str, typer.Option(help="Folder or URL for all results.")] = ".waver/store",
    out: Annotated[
        Path | None, typer.Option(help="File to write the answers to: .csv, .parquet or .json.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document, and progress elsewhere.")
    ] = False,
    force: Forced = None,
    overrides: Overrides = None,
) -> None:
    """Answer for videos that are in no data set: words, probabilities and a verdict for each."""
    request = RunRequest(
        data="", profile=profile, store=store, model=tuple(model),
        force=forced_stages(force), overrides=tuple(overrides or ()),
    )  # fmt: skip
    prepare_environment(HISTORY)
    from flows.commands.predict import predict_and_print

    raise typer.Exit(predict_and_print(videos, request, out, as_json=as_json))


def parity(
    model: Annotated[str, typer.Option(help="Folder or hub name of the model to ask.")],
    data: Annotated[
        str | None, typer.Option(help="A data set with a manifest; without it segments are drawn.")
    ] = None,
    sample: Annotated[int, typer.Option(min=1, help="How many segments.")] = 40,
    profile: Profile = "default",
    store: Annotated[str, typer.Option(help="The store of the data set.")] = ".waver/store",
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Of the verdicts.")] = 0.5,
    max_difference: Annotated[
        float | None, typer.Option(min=0, help="Allowed; by default .001 in float32, else .05.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="File to write a row a segment to: .csv or .parquet.")
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Ask transformers and vLLM about the same segments, and compare; status 1 if they differ."""
    prepare_environment(HISTORY)
    from flows.commands.parity import ParityRequest, measure_and_show

    request = ParityRequest(
        model=model, data=data, num_samples=sample, profile=profile, store=store,
        overrides=tuple(overrides or ()), threshold=threshold, max_difference=max_difference,
        out=out,
    )  # fmt: skip
    raise typer.Exit(measure_and_show(request))


def ablate(
    data: Annotated[str, typer.Option(help="A labelled data set.")],
    model: Annotated[
        str | None,
        typer.Option(help="Folder or hub name; by default what the run trained."),
    ] = None,
    profile: Profile = "default",
    store: Annotated[str, typer.Option(help="Folder or URL for all results.")] = ".waver/store",
    out: Annotated[
        Path | None, typer.Option(help="File to write all figures to: .csv or .parquet.")
    ] = None,
    force: Forced = None,
    overrides: Overrides = None,
) -> None:
    """Ask with every set of picture, sound and words, and with another's sound; compare."""
    request = RunRequest(
        data=data, profile=profile, store=store, model=model,
        force=forced_stages(force), overrides=tuple(overrides or ()),
    )  # fmt: skip
    prepare_environment(HISTORY)
    from flows.commands.ablate import ablate_and_show

    raise typer.Exit(ablate_and_show(request, out))
