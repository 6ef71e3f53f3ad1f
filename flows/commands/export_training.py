"""Export of a run's training samples as a folder for ms-swift or Hugging Face `datasets`."""

from pathlib import Path

from flows.commands.export import check_some, left_out
from flows.commands.options import TrainingFormat
from flows.context.context import Context, open_context, open_existing_store
from flows.context.request import RunRequest
from flows.context.rows import ManifestRows, check_leakage, read_manifest
from storage.datasets.consent import Permission, Purpose, permission_of
from storage.errors import ConfigError
from storage.store.atomic import atomic_folder
from storage.store.disk import creating
from tasks.export.hf_folder import write_hub_folder
from tasks.export.output_path import check_output_folder
from tasks.labels.class_plan import plan_classes
from tasks.ms_swift.export import write_swift_folder
from tasks.ms_swift.source import TrainingSource


def write_training(
    request: RunRequest, layout: TrainingFormat, purpose: Purpose, out: Path
) -> list[str]:
    """Write the folder atomically and return the lines that describe it.

    The export needs the stages up to the manifest.

    Raises:
        ConfigError: ``out`` cannot be used, or no participant consented to the purpose.
        DataError: the store does not exist.
        StageError: a stage is not finished, or the samples cannot be trained on.
        LeakageError: a participant or a duplicate is in more than one split.
    """
    if layout == "ms-swift":
        _check_internal(purpose)
    check_output_folder(out)
    open_existing_store(request.store)
    context = open_context(request)
    manifest = read_manifest(context)
    permission = permission_of(manifest.samples, purpose)
    check_some(permission)
    check_leakage(context, manifest)
    with creating(str(out), "--out"), atomic_folder(out) as folder:
        if layout == "ms-swift":
            source = _source(context, manifest, permission)
            lines = write_swift_folder(folder, source, out) + _seed_line(context)
        else:
            samples = permission.keep(manifest.samples)
            lines = write_hub_folder(folder, context.store, samples, purpose)
    return [
        *lines,
        f"of {len(permission.allowed)} videos, for purpose {purpose!r}",
        left_out(len(permission.declined), len(permission.unknown)),
    ]


def _check_internal(purpose: Purpose) -> None:
    """Raise unless the purpose is internal: the rows hold transcripts and paths of media files."""
    if purpose != "internal":
        raise ConfigError(
            f"The format 'ms-swift' contains transcripts and paths of media files, which are not "
            f"exported for purpose {purpose!r}: use --purpose internal."
        )


def _seed_line(context: Context) -> list[str]:
    first, *others = context.settings.finetune.all_seeds
    line = f"train.sh trains only seed {first} of {len(others) + 1}: change its --seed for another"
    return [line] if others else []


def _source(context: Context, manifest: ManifestRows, permission: Permission) -> TrainingSource:
    samples = permission.keep(manifest.samples)
    settings = context.settings.finetune
    return TrainingSource(
        store=context.store,
        samples=samples,
        plan=plan_classes(samples, context.settings.manifest),
        settings=settings.training_of(settings.all_seeds[0]),
        config=context.settings.input,
        resources=context.settings.resources.finetune,
        model=settings.model,
    )
