"""Options that several commands take."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast, get_args

import typer

from flows.context.stage_names import STAGES, StageName
from storage.errors import ConfigError

if TYPE_CHECKING:  # what it imports is imported when Prefect's environment is prepared
    from flows.context.request import RunRequest

HISTORY = Path(".waver/prefect")
DEFAULT_STORE = ".waver/store"
ExportKind = Literal["verdicts", "segments", "frames", "manifest"]
EXPORT_KINDS: tuple[ExportKind, ...] = get_args(ExportKind)
TRAINING = "training"
TrainingFormat = Literal["ms-swift", "hf"]
TRAINING_FORMATS: tuple[TrainingFormat, ...] = get_args(TrainingFormat)
INFERENCE_STAGES: tuple[StageName, ...] = ("segment", "transcribe", "manifest", "infer")


def completion_of(names: Sequence[str]) -> Callable[[str], list[str]]:
    """Return a shell completion that offers those of these names that fit what was typed."""
    return lambda incomplete: [name for name in names if name.startswith(incomplete)]


def stages_option(flag: str, description: str, stages: Sequence[str] = STAGES) -> object:
    """Declare an option that takes a stage's name; its help lists the names."""
    return typer.Option(
        flag,
        metavar="STAGE",
        help=f"{description}: {', '.join(stages)}.",
        autocompletion=completion_of(stages),
    )


Data = Annotated[
    str,
    typer.Option(
        metavar="FOLDER", help="The data set: a folder with a BAH release or with videos."
    ),
]
Profile = Annotated[
    str, typer.Option(metavar="PROFILE", help="Name of a profile, or path of a .toml file.")
]
Store = Annotated[
    str,
    typer.Option(metavar="STORE", help="Folder or URL of the store that holds all results."),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Override a setting (repeatable)."),
]
AcceptDuplicates = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="File of pairs of videos that look like copies of each other but are none: two video "
        "ids a line, separated by a comma.",
    ),
]
Verify = Annotated[
    bool,
    typer.Option(
        "--verify",
        help="Read every video and stored file again, also unchanged ones, to find damage.",
    ),
]
ForcedInference = Annotated[
    list[str] | None,
    stages_option("--force", "Recompute this stage's results (repeatable)", INFERENCE_STAGES),
]


def run_request(
    *,
    overrides: Sequence[str] | None,
    model: Sequence[str] | None,
    accept_duplicates: Path | None = None,
    **fields: Any,
) -> "RunRequest":
    """Return the request of the run that a command's options describe.

    ``fields`` are the other ones of `RunRequest`; `check_stages` has accepted the stages. The
    environment of Prefect, which this imports, must be prepared.

    Raises:
        ConfigError: a setting is unknown, its value or the partition is invalid.
    """
    from flows.context.overrides import read_overrides
    from flows.context.partition import partition_of
    from flows.context.request import RunRequest

    only, force = tuple(fields.pop("only", None) or ()), tuple(fields.pop("force", None) or ())
    settings = read_overrides((*(overrides or ()), *_accept_override(accept_duplicates)))
    request = RunRequest.model_validate(
        {**fields, "only": only, "force": force, "model": tuple(model or ()), "settings": settings}
    )
    partition_of(request)
    return request


def _accept_override(path: Path | None) -> tuple[str, ...]:
    """Return the option as an override of the setting, which deployments read too."""
    if path is None:
        return ()
    return (f"manifest.accept_duplicates={json.dumps(str(path.resolve()), ensure_ascii=False)}",)


def forced_stages(names: Sequence[str] | None) -> tuple[StageName, ...]:
    """Return the stages that an inference command recomputes; raises ConfigError if one is none."""
    for name in names or ():
        check_one_of("stage to recompute", name, INFERENCE_STAGES)
    return cast("tuple[StageName, ...]", tuple(names or ()))


def check_stages(
    start_at: str | None, only: Sequence[str] | None, force: Sequence[str] | None
) -> None:
    """Raise ConfigError if one of the stages that a command names is none."""
    for name in (start_at, *(only or ()), *(force or ())):
        if name is not None:
            check_one_of("stage", name, STAGES)


def check_one_of(kind: str, name: str, known: Sequence[str]) -> None:
    """Raise ConfigError if a name is not among the known ones."""
    if name not in known:
        raise ConfigError(f"Unknown {kind} {name!r}: expected one of {', '.join(known)}.")
