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


def segments_of(store: Store, **settings: object) -> Variant:
    return open_variant(store, "segment", version=1, settings={"boundaries": "fixed", **settings})


def transcripts_of(store: Store, model: str = "large") -> Variant:
    return open_variant(store, "transcribe", version=1, settings={"model": model})


def commit_report(
    infer: Variant,
    data: str,
    row: ThresholdRecord,
    config: AggregateConfig = CONFIG,
    segment: Variant | None = None,
) -> str:
    """Commit a report's thresholds as the aggregate stage would; returns its variant's path."""
    upstream = (
        (segment or segments_of(infer.store)).variant_id,
        transcripts_of(infer.store).variant_id,
    )
    manifest = open_variant(
        infer.store, "manifest", version=1, settings={"d": data}, upstream=upstream
    )
    variant = open_variant(
        infer.store,
        "aggregate",
        version=5,
        settings=config.model_dump(mode="json"),
        upstream=(manifest.variant_id, infer.variant_id),
    )
    rows = (row, replace(row, method="mean", threshold=0.9, chosen=False))
    variant.commit([ItemOutput(item_id="report", rows=rows)], {"report": data})
    return variant.path


def find(infer: Variant) -> EarlierSelection | None:
    return find_earlier_selection(
        infer, SETTINGS, (segments_of(infer.store), transcripts_of(infer.store))
    )


def test_an_earlier_selection_on_validation_for_this_model_is_found(infer: Variant) -> None:
    assert find(infer) is None
    path = commit_report(infer, "labeled", CHOSEN)
    selection = find(infer)
    assert selection is not None
    assert selection.rule == CHOSEN
    assert [row.method for row in selection.thresholds] == ["top_k_mean", "mean"]
    assert (selection.report_path, selection.caveat) == (path, None)
    origin = f"({path}: macro F1 .800 and average precision .700 there)"
    assert selection.origin == f"chosen by an earlier run with this model {origin}"


def test_a_selection_on_videos_segmented_with_other_settings_has_a_caveat(infer: Variant) -> None:
    commit_report(
        infer,
        "labeled",
        CHOSEN,
        segment=segments_of(infer.store, boundaries="annotated", crf=20),
    )
    selection = find(infer)
    assert selection is not None
    assert "(segment.boundaries=annotated, now fixed, segment.crf=20, now None)" in str(
        selection.caveat
    )
    infer.store.remove(segments_of(infer.store, boundaries="annotated", crf=20).path)
    assert "no longer known" in str(getattr(find(infer), "caveat", None))


def test_a_selection_on_other_transcripts_has_a_caveat_if_the_model_reads_them(
    infer: Variant,
) -> None:
    commit_report(infer, "labeled", CHOSEN)
    segment, tiny = segments_of(infer.store), transcripts_of(infer.store, "tiny")
    read, unread = (
        find_earlier_selection(infer, SETTINGS, v) for v in ((segment, tiny), (segment,))
    )
    assert read is not None
    assert "(transcribe.model=large, now tiny)" in str(read.caveat)
    assert unread is not None
    assert unread.caveat is None


def test_the_newest_selection_counts(infer: Variant) -> None:
    for number, threshold in enumerate((0.1, 0.7, 0.3)):
        commit_report(infer, f"data {number}", replace(CHOSEN, threshold=threshold))
    selection = find(infer)
    assert selection is not None
    assert selection.rule.threshold == 0.3


def test_a_rule_without_a_validation_score_does_not_count(infer: Variant) -> None:
    commit_report(infer, "unlabeled", replace(CHOSEN, score=None))
    assert find(infer) is None


def test_selections_for_another_model_or_with_other_settings_do_not_count(infer: Variant) -> None:
    other = open_variant(infer.store, "infer", version=1, settings={"model": "another"})
    commit_report(other, "labeled", CHOSEN)
    commit_report(infer, "labeled", CHOSEN, AggregateConfig(threshold_rule="best"))
    assert find(infer) is None
    commit_report(infer, "labeled", CHOSEN, AggregateConfig(bootstrap_draws=20))
    assert find(infer) is not None


def test_a_run_can_select_if_validation_has_predicted_videos_of_both_labels() -> None:
    names = {"a": ("val", 0), "b": ("val", 1), "c": ("test", 1), "d": ("val", None)}
    samples = [a_sample(name, split=split, label=label) for name, (split, label) in names.items()]
    predictions = [a_prediction(f"{name}#0000") for name in names]
    assert can_select(samples, predictions)
    assert not can_select(samples, [row for row in predictions if row.video_id != "b"])
    assert not can_select([], [])
