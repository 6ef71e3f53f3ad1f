from collections.abc import Callable
from dataclasses import replace

import pytest

from storage.records import SampleRecord
from tasks.evaluation.baselines import length_only_macro_f1
from tasks.report.notices import notices_of


def training_rows(
    samples: list[SampleRecord], length_ms: Callable[[int, int], int]
) -> list[SampleRecord]:
    """Put train samples in training, with durations computed from their label and index."""
    rows = [sample for sample in samples if sample.split == "train"] * 4
    return [
        replace(row, start_ms=0, end_ms=length_ms(row.label or 0, index), in_training=True)
        for index, row in enumerate(rows)
    ]


def test_fixed_boundaries_need_no_notice(split_world):
    assert notices_of("fixed", split_world.samples) == ()


def test_durations_that_leak_the_label_are_reported_with_their_macro_f1(split_world):
    rows = training_rows(split_world.samples, lambda label, _: 2_900 if label else 4_800)
    assert length_only_macro_f1(rows) == 1
    (notice,) = notices_of("annotated", rows)
    assert "leak the label" in notice
    assert "macro F1 1.000" in notice


def test_durations_unrelated_to_the_label_have_a_low_macro_f1(split_world):
    rows = training_rows(split_world.samples, lambda _, index: 4_000 + 7 * (index * 37 % 101))
    assert length_only_macro_f1(rows) < 0.75


def test_rows_outside_training_are_not_measured(split_world):
    rows = training_rows(split_world.samples, lambda label, _: 2_900 if label else 4_800)
    absent = [replace(row, in_training=False) for row in rows if row.label == 0]
    present = [row for row in rows if row.label == 1]
    assert length_only_macro_f1([*absent, *present]) is None
    (notice,) = notices_of("annotated", [*absent, *present])
    assert "could not be measured" in notice


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_rows_are_not_measured(split_world, count):
    rows = training_rows(split_world.samples, lambda *_: 4_000)[:count]
    assert length_only_macro_f1(rows) is None
