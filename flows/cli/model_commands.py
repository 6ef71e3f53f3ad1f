"""Commands on a model: `predict`, `parity` and `ablate`."""

from pathlib import Path
from typing import Annotated

import typer

from flows.commands.options import (
    DEFAULT_STORE,
    HISTORY,
    ForcedInference,
    Overrides,
    Profile,
    Store,
    forced_stages,
    run_request,
)
from flows.server.environment import prepare_environment


def predict(
    videos: Annotated[
        list[Path], typer.Argument(metavar="VIDEO", help="Video files; they are only read.")
    ],
    model: Annotated[
        list[str],
        typer.Option(
            metavar="MODEL", help="Model folder or hub name; several form an ensemble (repeatable)."
        ),
    ],
    profile: Profile = "default",
    store: Store = DEFAULT_STORE,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="File to write the predictions to, .csv, .parquet or .json."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document, and progress on stderr.")
    ] = False,
    force: ForcedInference = None,
    overrides: Overrides = None,
) -> None:
    """Predict A/H in individual videos: a transcript, probabilities and a verdict for each."""
    forced = forced_stages(force)
    prepare_environment(HISTORY)
    from flows.commands.predict import predict_and_print

    request = run_request(
        videos=tuple(map(str, videos)), profile=profile, store=store, model=model, force=forced,
        overrides=overrides,
    )  # fmt: skip
    raise typer.Exit(predict_and_print(videos, request, out, as_json=as_json))


Threshold = Annotated[
    float, typer.Option(min=0, max=1, help="Probability from which a verdict is A/H.")
]
MaxDifference = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="Largest allowed difference of probabilities; by default .001 in float32, otherwise "
        ".05.",
    ),
]


def parity(
    model: Annotated[str, typer.Option(metavar="MODEL", help="Model folder or hub name.")],
    data: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="Data set with a finished manifest; by default, synthetic segments.",
        ),
    ] = None,
    sample: Annotated[int, typer.Option(min=1, help="Number of segments to compare.")] = 40,
    profile: Profile = "default",
    store: Annotated[
        str, typer.Option(metavar="STORE", help="Store of the data set.")
    ] = DEFAULT_STORE,
    threshold: Threshold = 0.5,
    max_difference: MaxDifference = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="File to write one row per segment to, .csv or .parquet."
        ),
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Compare the predictions of vLLM and transformers on the same segments.

    The exit status is 1 if they differ.
    """
    prepare_environment(HISTORY)
    from flows.commands.parity import ParityRequest, measure_and_show
    from flows.context.overrides import read_overrides

    request = ParityRequest(
        model=model, data=data, num_samples=sample, profile=profile, store=store,
        settings=read_overrides(overrides or ()), threshold=threshold,
        max_difference=max_difference, out=out,
    )  # fmt: skip
    raise typer.Exit(measure_and_show(request))


def ablate(
    data: Annotated[str, typer.Option(metavar="FOLDER", help="Labeled data set.")],
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Model folder or hub name; by default, the model that the run trained.",
        ),
    ] = None,
    profile: Profile = "default",
    store: Store = DEFAULT_STORE,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File to write all metrics to, .csv or .parquet."),
    ] = None,
    force: ForcedInference = None,
    overrides: Overrides = None,
) -> None:
    """Measure the model without video, audio or transcript, and with swapped audio."""
    forced = forced_stages(force)
    prepare_environment(HISTORY)
    from flows.commands.ablate import ablate_and_show

    request = run_request(
        data=data, profile=profile, store=store, model=model and [model], force=forced,
        overrides=overrides,
    )  # fmt: skip
    raise typer.Exit(ablate_and_show(request, out))
