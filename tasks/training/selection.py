"""Which samples train a model and which choose its best checkpoint."""

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
    """Give the rows in training and, where the settings ask for validation, those of val."""
    train = [sample for sample in samples if sample.in_training]
    return train, _validation_rows(samples) if settings.validation else []


def _validation_rows(samples: Sequence[SampleRecord]) -> Samples:
    """Choose on labels that somebody gave for the very segment, if any of them is positive.

    A data set that nowhere says when A/H shows has weak positives alone: they choose there.
    """
    labelled = [s for s in samples if s.split == "val" and s.label is not None]
    timed = [s for s in labelled if s.label_source == "intervals"]
    return timed if any(sample.label for sample in timed) else labelled


def check_samples(samples: Sequence[SampleRecord], settings: TrainingSettings) -> None:
    """Refuse rows from which nothing can be learnt or chosen.

    Raises:
        StageError: says which rows are missing, and the way out.
    """
    train, val = select_samples(samples, settings)
    if not train:
        raise StageError(
            f"None of the {len(samples)} samples is labelled and in split 'train': give a data set "
            "with labels, or name a trained model with --model."
        )
    if _is_one_class(train):
        raise StageError(
            f"All {len(train)} training samples have label {train[0].label}: training needs some "
            "with A/H and without; check the annotation and manifest.positive_at."
        )
    if settings.validation:
        _check_validation(val, settings)


def _check_validation(val: Samples, settings: TrainingSettings) -> None:
    if not val:
        raise StageError(
            "No labelled sample is in split 'val', so that no best checkpoint can be chosen: add "
            "validation videos, draw some with manifest.split_by = stratified, or set "
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
    """Digest what the model learns from: content, label and split of every row used, in order.

    A class plan that changes nothing is as good as none.
    """
    train, val = select_samples(samples, settings)
    rows = [(s.content_digest, s.label, s.split) for s in [*train, *val]]
    return digest_of(rows, *plan_identity(plan))
