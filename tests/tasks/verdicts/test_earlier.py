from dataclasses import replace
from pathlib import Path

import pytest

from storage.records import VideoId
from storage.results import ThresholdRecord
from storage.store import Store
from storage.variant import ItemOutput, Variant
from tasks.aggregate import AggregateConfig
from tasks.verdicts.earlier import chosen_earlier

CONFIG = AggregateConfig()
SETTINGS = CONFIG.model_dump(mode="json")
CHOSEN = ThresholdRecord(
    method="top_k_mean", level="video", threshold=0.4, threshold_rule="plateau",
    reason="plateau on 9 validation rows", low=0.3, high=0.5, score_name="macro_f1", score=0.8,
    average_precision=0.7, chosen=True, chosen_on=(VideoId("a"),),
)  # fmt: skip


@pytest.fixture
def infer(tmp_path: Path) -> Variant:
    return Store(str(tmp_path)).variant("infer", version=1, settings={"model": "this"})


def measured(
    infer: Variant, manifest: str, row: ThresholdRecord, config: AggregateConfig = CONFIG
) -> None:
    """Leave a report's thresholds in the store, as the aggregate stage would."""
    variant = infer.store.variant(
        "aggregate", version=5, settings=config.model_dump(mode="json"),
        upstream=(manifest, infer.variant_id),
    )  # fmt: skip
    rows = (row, replace(row, method="mean", threshold=0.9, chosen=False))
    variant.commit([ItemOutput(item_id="report", rows=rows)], {"report": manifest})


def test_what_was_chosen_on_validation_for_this_model_is_found(infer: Variant) -> None:
    assert chosen_earlier(infer, SETTINGS) is None
    measured(infer, "labelled", CHOSEN)
    assert chosen_earlier(infer, SETTINGS) == CHOSEN


def test_the_newest_choice_counts(infer: Variant) -> None:
    for number, threshold in enumerate((0.1, 0.7, 0.3)):
        measured(infer, f"data {number}", replace(CHOSEN, threshold=threshold))
    found = chosen_earlier(infer, SETTINGS)
    assert found is not None
    assert found.threshold == 0.3


def test_a_rule_that_was_chosen_on_nothing_does_not_count(infer: Variant) -> None:
    measured(infer, "unlabelled", replace(CHOSEN, score=None))
    assert chosen_earlier(infer, SETTINGS) is None


def test_choices_for_another_model_or_by_other_settings_do_not_count(infer: Variant) -> None:
    other = infer.store.variant("infer", version=1, settings={"model": "another"})
    measured(other, "labelled", CHOSEN)
    measured(infer, "labelled", CHOSEN, AggregateConfig(threshold_rule="best"))
    assert chosen_earlier(infer, SETTINGS) is None
    measured(infer, "labelled", CHOSEN, AggregateConfig(bootstrap_draws=20))
    assert chosen_earlier(infer, SETTINGS) == CHOSEN
