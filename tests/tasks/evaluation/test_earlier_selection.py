from dataclasses import replace
from pathlib import Path

import pytest

from storage.records import VideoId
from storage.results import ThresholdRecord
from storage.store.store import Store
from storage.store.variant import ItemOutput, Variant, open_variant
from tasks.aggregate import AggregateConfig
from tasks.evaluation.earlier_selection import EarlierSelection, can_select, find_earlier_selection
from tests.builders import a_prediction, a_sample, a_threshold

CONFIG = AggregateConfig()
SETTINGS = CONFIG.model_dump(mode="json")
CHOSEN = a_threshold("top_k_mean", threshold=0.4, chosen_on=(VideoId("a"),))


@pytest.fixture
def infer(tmp_path: Path) -> Variant:
    return open_variant(Store(str(tmp_path)), "infer", version=1, settings={"model": "this"})


def cut(store: Store, **settings: object) -> Variant:
    return open_variant(store, "segment", version=1, settings={"boundaries": "fixed", **settings})


def heard(store: Store, model: str = "large") -> Variant:
    return open_variant(store, "transcribe", version=1, settings={"model": model})


def measured(
    infer: Variant,
    data: str,
    row: ThresholdRecord,
    config: AggregateConfig = CONFIG,
    segment: Variant | None = None,
) -> str:
    """Leave a report's thresholds in the store, as the aggregate stage would; gives its variant."""
    upstream = ((segment or cut(infer.store)).variant_id, heard(infer.store).variant_id)
    manifest = open_variant(
        infer.store, "manifest", version=1, settings={"d": data}, upstream=upstream
    )
    variant = open_variant(infer.store, "aggregate", version=5, settings=config.model_dump(mode="json"),
        upstream=(manifest.variant_id, infer.variant_id),
    )  # fmt: skip
    rows = (row, replace(row, method="mean", threshold=0.9, chosen=False))
    variant.commit([ItemOutput(item_id="report", rows=rows)], {"report": data})
    return variant.path


def found(infer: Variant) -> EarlierSelection | None:
    return find_earlier_selection(infer, SETTINGS, (cut(infer.store), heard(infer.store)))


def test_what_was_chosen_on_validation_for_this_model_is_found(infer: Variant) -> None:
    assert found(infer) is None
    path = measured(infer, "labelled", CHOSEN)
    choice = found(infer)
    assert choice is not None
    assert choice.rule == CHOSEN
    assert [row.method for row in choice.thresholds] == ["top_k_mean", "mean"]
    assert (choice.report_path, choice.caveat) == (path, None)
    message = f"({path}: macro F1 .800 and average precision .700 there)"
    assert choice.origin == f"chosen by an earlier run with this model {message}"


def test_a_choice_on_videos_that_were_cut_otherwise_says_so(infer: Variant) -> None:
    measured(infer, "labelled", CHOSEN, segment=cut(infer.store, boundaries="annotated", crf=20))
    choice = found(infer)
    assert choice is not None
    assert "(segment.boundaries=annotated, now fixed, segment.crf=20, now None)" in str(
        choice.caveat
    )
    infer.store.remove(cut(infer.store, boundaries="annotated", crf=20).path)
    assert "not known any more" in str(getattr(found(infer), "caveat", None))


def test_a_choice_on_videos_that_were_transcribed_otherwise_says_so_where_words_are_read(
    infer: Variant,
) -> None:
    measured(infer, "labelled", CHOSEN)
    segment, tiny = cut(infer.store), heard(infer.store, "tiny")
    read, unread = (
        find_earlier_selection(infer, SETTINGS, v) for v in ((segment, tiny), (segment,))
    )
    assert read is not None
    assert "(transcribe.model=large, now tiny)" in str(read.caveat)
    assert unread is not None
    assert unread.caveat is None


def test_the_newest_choice_counts(infer: Variant) -> None:
    for number, threshold in enumerate((0.1, 0.7, 0.3)):
        measured(infer, f"data {number}", replace(CHOSEN, threshold=threshold))
    choice = found(infer)
    assert choice is not None
    assert choice.rule.threshold == 0.3


def test_a_rule_that_was_chosen_on_nothing_does_not_count(infer: Variant) -> None:
    measured(infer, "unlabelled", replace(CHOSEN, score=None))
    assert found(infer) is None


def test_choices_for_another_model_or_by_other_settings_do_not_count(infer: Variant) -> None:
    other = open_variant(infer.store, "infer", version=1, settings={"model": "another"})
    measured(other, "labelled", CHOSEN)
    measured(infer, "labelled", CHOSEN, AggregateConfig(threshold_rule="best"))
    assert found(infer) is None
    measured(infer, "labelled", CHOSEN, AggregateConfig(bootstrap_draws=20))
    assert found(infer) is not None


def test_a_run_chooses_by_itself_where_validation_has_answered_videos_of_both_labels() -> None:
    names = {"a": ("val", 0), "b": ("val", 1), "c": ("test", 1), "d": ("val", None)}
    samples = [a_sample(name, split=split, label=label) for name, (split, label) in names.items()]
    answers = [a_prediction(f"{name}#0000") for name in names]
    assert can_select(samples, answers)
    assert not can_select(samples, [row for row in answers if row.video_id != "b"])
    assert not can_select([], [])
