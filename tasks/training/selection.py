"""Which samples train a model, and which select its best checkpoint."""

from collections.abc import Sequence

from storage.errors import StageError
from storage.fingerprint import digest_of
from storage.records import SampleRecord
from tasks.labels.class_plan import Plan, plan_identity
from tasks.training.settings import TrainingSettings

Samples = list[SampleRecord]


def select_samples(
    samples: Sequence[SampleRecord], settings: TrainingSettings
) -> tuple[Samples, Samples]:
    """Return the training samples and, with ``validation``, the validation samples."""
    train = [sample for sample in samples if sample.in_training]
    return train, _validation_samples(samples) if settings.validation else []


def _validation_samples(samples: Sequence[SampleRecord]) -> Samples:
    """Return the val samples with segment-level labels, if any of these is positive.

    Data sets without annotated intervals only have video-level positives: then all labeled val
    samples are used.
    """
    labeled = [s for s in samples if s.split == "val" and s.label is not None]
    annotated = [s for s in labeled if s.label_source == "intervals"]
    return annotated if any(sample.label for sample in annotated) else labeled


def check_samples(samples: Sequence[SampleRecord], settings: TrainingSettings) -> None:
    """Raise if the samples cannot be trained on or used for model selection.

    Raises:
        StageError: names the missing samples.
    """
    train, val = select_samples(samples, settings)
    if not train:
        raise StageError(
            f"None of the {len(samples)} samples is labeled and in split 'train': provide a data "
            "set with labels, or name a trained model with --model."
        )
    if _is_one_class(train):
        raise StageError(
            f"All {len(train)} training samples have label {train[0].label}, but training needs "
            "both labels: check the annotation and manifest.positive_at."
        )
    if settings.validation:
        _check_validation(val, settings)


def _check_validation(val: Samples, settings: TrainingSettings) -> None:
    if not val:
        raise StageError(
            "No labeled sample is in split 'val', so the best checkpoint cannot be selected: add "
            "validation videos, split some off with manifest.split_by = stratified, or set "
            "finetune.validation = false to keep the last checkpoint."
        )
    if settings.metric != "loss" and _is_one_class(val):
        raise StageError(
            f"All {len(val)} validation samples have label {val[0].label}, which leaves "
            f"{settings.metric!r} undefined: set finetune.metric = loss, or add validation videos."
        )


def _is_one_class(samples: Samples) -> bool:
    return len({sample.label for sample in samples}) < 2


def digest_samples(samples: Sequence[SampleRecord], settings: TrainingSettings, plan: Plan) -> str:
    """Digest content, label and split of every used sample, in order.

    The class plan is included only where it differs from the default.
    """
    train, val = select_samples(samples, settings)
    rows = [(s.content_digest, s.label, s.split) for s in [*train, *val]]
    return digest_of(rows, *plan_identity(plan))
