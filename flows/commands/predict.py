"""Predictions for individual videos outside a data set: a run's stages on a list of files.

The videos are only read. Their results are kept in the store under the files' absolute paths, as in
any run: predicting the same file again reuses them, and `waver erase` finds them.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import typer
from rich.console import Console

from flows.commands.exit_status import ExitStatus
from flows.commands.options import INFERENCE_STAGES
from flows.commands.progress import show_progress
from flows.commands.run import run_pipeline
from flows.commands.version import waver_version
from flows.context.context import Context, context_of
from flows.context.models import Models
from flows.context.preflight import check_named_models
from flows.context.request import RunRequest
from flows.context.results import read_inference
from flows.context.rows import expected_videos, sources_of
from flows.context.settings import Settings, load_settings
from storage.datasets.erased import read_erased
from storage.errors import DataError
from storage.fingerprint import digest_of
from storage.identity import names_alike, quote_spelling
from storage.media_records import MediaFacts
from storage.store.atomic import atomic_file
from storage.store.disk import creating
from storage.store.store import Store
from tasks.export.files import write_export
from tasks.export.output_path import TABLE_FORMATS, check_output_file
from tasks.inference.damaged_media import count_damaged, damage_message
from tasks.prediction.document import SCHEMA, Member, Model, PredictionDocument, flat_table, to_json
from tasks.prediction.table import prediction_table
from tasks.prediction.verdicts import StageOutputs, assemble_videos, score_videos

_JSON = ".json"


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoFiles:
    """Absolute paths of the videos to predict, each once, and warnings about repeated ones."""

    paths: tuple[Path, ...]
    warnings: tuple[str, ...]


def predict_and_print(
    paths: Sequence[Path], request: RunRequest, out: Path | None, *, as_json: bool
) -> ExitStatus:
    """Predict these videos, print the predictions, and write them to ``out``.

    With ``as_json``, only the JSON document goes to stdout. ``request`` has the profile, store and
    model.

    Returns SOME_REJECTED if a video or segment was rejected.

    Raises:
        DataError: a path is not a file, or its participant was erased.
        ModelError: the model cannot be used.
        ConfigError: ``out`` or a setting cannot be used.
    """
    files = find_videos(paths)
    if out is not None:
        check_output_file(out, (*TABLE_FORMATS, _JSON))
    settings = load_settings(request.profile, request.settings.given())
    check_named_models(request.models, settings.finetune.model)
    predicted = predict(files, request, settings, Console(stderr=as_json))
    if out is not None:
        _write(predicted, out)
    if as_json:
        typer.echo(to_json(predicted))
    else:
        Console().print(prediction_table(predicted))
    return ExitStatus.SOME_REJECTED if predicted.num_rejected else ExitStatus.DONE


def find_videos(paths: Sequence[Path]) -> VideoFiles:
    """Check that every path is a file, and list each file once.

    Raises:
        DataError: a path is not a file; nothing has been opened yet.
    """
    faults = tuple(fault for path in paths if (fault := _fault_of(path)))
    if faults:
        counted = f"{len(faults)} of {len(paths)} paths cannot be used: " if paths[1:] else ""
        raise DataError(counted + faults[0], details=faults[1:])
    resolved = [path.resolve() for path in paths]
    unique = tuple(dict.fromkeys(resolved))
    repeated = [str(path) for path in unique if resolved.count(path) > 1]
    return VideoFiles(
        paths=unique,
        warnings=tuple(
            f"{path!r} is named more than once: it is predicted once" for path in repeated
        ),
    )


def _fault_of(path: Path) -> str | None:
    try:
        path.name.encode()
        if path.is_file():
            return None
        if path.is_dir():
            return (
                f"{str(path)!r} is a folder: name the videos in it, or run all of them with "
                "`waver run --data`."
            )
        exists = path.exists()
    except UnicodeEncodeError:
        return f"{str(path)!r} is not valid Unicode: rename the file."
    except OSError as error:
        return f"{str(path)!r} cannot be read ({error.strerror})."
    alike = () if exists else names_alike(path)
    if alike:
        other = " or ".join(map(quote_spelling, alike))
        return f"{quote_spelling(str(path))} does not exist, but {other} does: name that file."
    return f"{str(path)!r} {'is not a file' if exists else 'does not exist'}: name a video file."


def predict(
    files: VideoFiles, request: RunRequest, settings: Settings, console: Console
) -> PredictionDocument:
    """Run the stages on these videos and assemble their predictions."""
    _check_not_erased(Store(request.store), files)
    videos = tuple(str(path) for path in files.paths)
    request = request.model_copy(update={"data": "", "videos": videos, "only": INFERENCE_STAGES})
    with show_progress(console), context_of(request, _settings_for_files(settings)) as context:
        run_pipeline(context)
        with context.store.staging() as folder:
            return _assemble(context, files, folder)


def _settings_for_files(settings: Settings) -> Settings:
    """Adapt a profile to single files.

    They have no labels, so there are no splits to assign and no annotated boundaries; any fraction
    of few segments may be rejected, which is reported for each; and other nodes may not have them.
    """
    return settings.model_copy(
        update={
            "manifest": settings.manifest.model_copy(update={"split_by": "release"}),
            "segment": settings.segment.model_copy(update={"boundaries": "fixed"}),
            "infer": settings.infer.model_copy(update={"max_failed_fraction": 1.0}),
            "resources": settings.resources.model_copy(update={"runner": "local"}),
        }
    )


def _check_not_erased(store: Store, files: VideoFiles) -> None:
    erased = read_erased(store)
    of_erased = tuple(str(path) for path in files.paths if erased.in_path(str(path)))
    if of_erased:
        raise DataError(
            f"{len(of_erased)} of {len(files.paths)} videos belong to participants erased from the "
            "store: leave them out, or undo that with `waver erase --undo`.",
            details=of_erased,
        )


def _assemble(context: Context, files: VideoFiles, folder: Path) -> PredictionDocument:
    """Read the stages' results into a document; ``folder`` is for temporary files."""
    settings, inference = context.settings, read_inference(context)
    outputs = StageOutputs(
        videos=context.videos,
        file_digests={name: s.source_digest for name, s in sources_of(context).items()},
        facts=context.look(context.segment, expected_videos(context)).read(MediaFacts),
        samples=inference.manifest.samples,
        predictions=inference.predictions,
        rejected=inference.rejected,
    )
    rule, verdicts = score_videos(outputs, settings.aggregate.plan(), inference.earlier, folder)
    damaged = count_damaged(outputs.predictions, outputs.samples, settings.input)
    damage = damage_message(*damaged, len(outputs.predictions))
    models = inference.models
    variants = (context.segment, context.transcribe, context.manifest, models.variant)
    return PredictionDocument(
        schema=SCHEMA,
        waver_version=waver_version(),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        model=_model_of(models),
        profile=context.request.profile,
        variants={variant.stage: variant.variant_id for variant in variants},
        rule=rule,
        warnings=(*files.warnings, *inference.warnings, *([damage] if damage else [])),
        videos=assemble_videos(outputs, verdicts),
    )


def _model_of(models: Models) -> Model:
    members = tuple(
        Member(name=model.name, fingerprint=model.fingerprint, variant=model.variant.variant_id)
        for model in models.members
    )
    hashes = sorted(member.fingerprint for member in members)
    return Model(
        name=models.name,
        fingerprint=hashes[0] if len(hashes) == 1 else digest_of(hashes),
        members=members if models.is_ensemble else (),
    )


def _write(predicted: PredictionDocument, out: Path) -> None:
    if out.suffix.lower() == _JSON:
        with creating(str(out), "--out"), atomic_file(out) as unfinished:
            unfinished.write_text(to_json(predicted) + "\n", encoding="utf-8")
        return
    table = flat_table(predicted)
    facts = {"kind": "predict", **{f"rule.{k}": str(v) for k, v in asdict(predicted.rule).items()}}
    write_export(out, table.schema, [table], facts)
