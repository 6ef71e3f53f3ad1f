"""What a run trains on, as a folder for other programs: ms-swift, or Hugging Face's `datasets`."""

from pathlib import Path

from flows.commands.export import check_some, left_out
from flows.context.context import Context, open_context, open_existing_store
from flows.context.request import RunRequest, TrainingFormat
from flows.context.rows import ManifestRows, read_manifest
from storage.datasets.consent import Permission, Purpose, permission_of
from storage.errors import ConfigError
from storage.store.atomic import atomic_folder
from storage.store.disk import creating
from tasks.export.hf_folder import write_hub_folder
from tasks.export.output_path import check_output_folder
from tasks.labels.class_plan import plan_classes
from tasks.labels.leakage import check_no_leakage
from tasks.ms_swift.export import write_swift_folder
from tasks.ms_swift.source import TrainingSource


def write_training(
    request: RunRequest, layout: TrainingFormat, purpose: Purpose, out: Path
) -> list[str]:
    """Write the folder, whole or not at all; gives what there is to say about it.

    It needs the stages up to the manifest; the splits must not leak.

    Raises:
        ConfigError: something lies at that place, or nothing may be exported for the purpose.
        DataError: there is no such store.
        StageError: a stage whose rows it needs is not finished, or nothing can be learnt.
        LeakageError: somebody or something stands on two sides of the split.
    """
    if layout == "ms-swift":
        _check_stays_inside(purpose)
    check_output_folder(out)
    open_existing_store(request.store)
    context = open_context(request)
    manifest = read_manifest(context)
    permission = permission_of(manifest.samples, purpose)
    check_some(permission)
    check_no_leakage(manifest.samples, manifest.hashes)
    with creating(str(out), "--out"), atomic_folder(out) as folder:
        if layout == "ms-swift":
            source = _source(context, manifest, permission)
            message = write_swift_folder(folder, source, out) + _told_seed(context)
        else:
            samples = permission.keep(manifest.samples)
            message = write_hub_folder(folder, context.store, samples, purpose)
    return [
        *message,
        f"of {len(permission.allowed)} videos, for purpose {purpose!r}",
        left_out(len(permission.refused), len(permission.unknown)),
    ]


def _check_stays_inside(purpose: Purpose) -> None:
    """Refuse every purpose outside the house: the rows are what was said, and where media lie."""
    if purpose != "internal":
        raise ConfigError(
            f"The format 'ms-swift' holds what was said and where the media lie, which is not "
            f"exported for purpose {purpose!r}: use --purpose internal."
        )


def _told_seed(context: Context) -> list[str]:
    first, *others = context.settings.finetune.all_seeds
    message = f"train.sh trains with seed {first} alone, of {len(others) + 1}: change --seed in it"
    return [message] if others else []


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
