from dataclasses import replace

import pytest

from storage.errors import StageError
from storage.records import SampleRecord
from tasks.labels.class_plan import ClassRule, plan_classes
from tasks.training import selection
from tasks.training.selection import check_samples, digest_samples, select_samples
from tasks.training.settings import TrainingSettings
from tests.builders import a_sample

SETTINGS = TrainingSettings()
UNVALIDATED = TrainingSettings(validation=False)


def sample(name: str, split: str | None, label: int | None) -> SampleRecord:
    return a_sample(name, split=split, label=label)


TRAIN = [sample("a", "train", 0), sample("b", "train", 1)]
VAL = [sample("c", "val", 0), sample("d", "val", 1)]
UNUSED = [
    sample("e", "test", 1),
    sample("f", "train", None),
    sample("g", None, None),
    replace(sample("h", "train", 0), in_training=False),  # in the ignore band
]


def test_only_labeled_samples_of_train_and_val_are_used():
    assert select_samples([*UNUSED, *VAL, *TRAIN], SETTINGS) == (TRAIN, VAL)
    assert select_samples([*TRAIN, *VAL], UNVALIDATED) == (TRAIN, [])


@pytest.mark.parametrize(
    ("samples", "settings", "message"),
    [
        ([*VAL, *UNUSED], SETTINGS, "None of the 6 samples .* split 'train'"),
        ([TRAIN[0], TRAIN[0], *VAL], SETTINGS, "All 2 training samples have label 0"),
        (TRAIN, SETTINGS, "finetune.validation = false"),
        ([*TRAIN, VAL[1]], SETTINGS, "All 1 validation samples have label 1, .*'macro_f1' undef"),
    ],
)
def test_samples_that_cannot_be_trained_on_or_select_a_checkpoint_are_rejected(
    samples, settings, message
):
    with pytest.raises(StageError, match=message):
        check_samples(samples, settings)


def test_video_labels_select_the_checkpoint_only_without_segment_labels():
    weak = replace(sample("w", "val", 1), label_source="video")
    assert select_samples([*VAL, weak], SETTINGS)[1] == VAL
    assert select_samples([VAL[0], weak], SETTINGS)[1] == [VAL[0], weak]


def test_the_advised_settings_are_accepted():
    check_samples([*TRAIN, *VAL], SETTINGS)
    check_samples(TRAIN, UNVALIDATED)
    check_samples([*TRAIN, VAL[1]], TrainingSettings(metric="loss"))


def test_the_digest_covers_exactly_the_used_samples():
    samples = [*TRAIN, *VAL]

    def digest_samples(samples, settings):
        return selection.digest_samples(samples, settings, ())

    digest = digest_samples(samples, SETTINGS)
    assert digest_samples([*UNUSED, *samples], SETTINGS) == digest
    assert digest_samples([replace(TRAIN[0], label=1), *samples[1:]], SETTINGS) != digest
    assert digest_samples([replace(TRAIN[0], content_digest="z"), *samples[1:]], SETTINGS) != digest
    assert (
        digest_samples([*TRAIN, replace(VAL[0], split="train", in_training=True), VAL[1]], SETTINGS)
        != digest
    )
    assert digest_samples(samples, UNVALIDATED) == digest_samples(TRAIN, UNVALIDATED) != digest


def test_the_digest_depends_on_a_class_plan_only_if_it_changes_training():
    weighted = ClassRule(class_weights="balanced", sampling="natural")
    more = [*TRAIN, replace(TRAIN[0], content_digest="z"), *VAL]
    for samples, expected in (([*TRAIN, *VAL], 2), (more, 3)):
        digests = {digest_samples(samples, SETTINGS, ())}
        for rule in (ClassRule(sampling="natural"), weighted, ClassRule(sampling="balanced")):
            digests.add(digest_samples(samples, SETTINGS, plan_classes(samples, rule)))
        assert len(digests) == expected
