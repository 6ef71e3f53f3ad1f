import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError
from rich.console import Console

from storage.errors import StoreError
from storage.records import RejectedRecord, SampleRecord, VideoRecord
from storage.results import (
    MemberRecord,
    MetricRecord,
    PredictionRecord,
    ThresholdRecord,
    VerdictRecord,
)
from storage.store.store import Store
from storage.store.variant import ItemOutput, Variant, open_variant
from tasks import aggregate
from tasks.aggregate import (
    AggregateConfig,
    ReportSources,
    aggregate_shard,
    expected_items,
    report_path,
    variant_of,
)
from tasks.evaluation.earlier_selection import EarlierSelection
from tasks.report.html import RunFacts
from tasks.report.table import result_table
from tasks.stage import Shard, ShardResult
from tests.builders import a_prediction, a_video, sample_of

CONFIG = AggregateConfig(bootstrap_draws=20)
WORDS = "unspeakable words"


def sample(video: VideoRecord, index: int) -> SampleRecord:
    return sample_of(video, index, num_segments=2, transcript=WORDS, transcript_before=WORDS)


def prediction(row: SampleRecord) -> PredictionRecord:
    p_ah = 0.1 + 0.7 * (row.label or 0) + 0.05 * row.index
    return a_prediction(row.segment_id, p_ah)


def stored(variant: Variant, rows: Sequence[SampleRecord | PredictionRecord]) -> dict[str, str]:
    expected = {row.segment_id: "digest" for row in rows}
    variant.commit([ItemOutput(item_id=row.segment_id, rows=(row,)) for row in rows], expected)
    return expected


@pytest.fixture
def sources(tmp_path: Path) -> ReportSources:
    """A store with two participants per split, each with a positive and a negative video."""
    store = Store(str(tmp_path / "store"))
    videos = [
        a_video(
            f"{split} {person} {label}.mp4",
            participant_id=f"{split}-{person}",
            split=split,
            label=label,
        )
        for split in ("train", "val", "test")
        for person in (1, 2)
        for label in (0, 1)
    ]
    samples = [sample(video, index) for video in videos for index in (0, 1)]
    manifest = open_variant(store, "manifest", version=1, settings={})
    infer = open_variant(store, "infer", version=1, settings={})
    return ReportSources(
        manifest=manifest,
        expected_samples=stored(manifest, samples),
        infer=infer,
        expected_predictions=stored(infer, [prediction(row) for row in samples]),
        videos=videos,
        rejected=(RejectedRecord(item_id="bad.mp4", stage="segment", reason="empty file"),),
        facts=RunFacts(data_name="toy", model_name="toy-model", variants={}),
    )


def run(sources: ReportSources, config: AggregateConfig = CONFIG) -> tuple[Variant, ShardResult]:
    variant = variant_of(
        sources.manifest.store, config, manifest=sources.manifest, infer=sources.infer
    )
    shard = Shard(name="all", expected=expected_items(sources))
    state = aggregate_shard.fn(shard, sources, config, variant)
    return variant, state.data


def files_of(variant: Variant) -> dict[str, tuple[int, int]]:
    folder = Path(variant.store.full_path(variant.path))
    return {
        str(path): (path.stat().st_mtime_ns, path.stat().st_ino)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_report_writes_its_rows_and_files(sources: ReportSources) -> None:
    variant, result = run(sources)
    expected = expected_items(sources)
    assert (result.num_computed, result.num_cached) == (1, 0)
    verdicts = [row for row in variant.read(VerdictRecord, expected) if row.chosen]
    assert {row.video_id: row.verdict for row in verdicts} == {
        video.video_id: video.label for video in sources.videos
    }
    assert variant.read(ThresholdRecord, expected)
    macro_f1 = {
        row.split: row.value
        for row in variant.read(MetricRecord, expected)
        if (row.name, row.method, row.level) == ("macro_f1", "mean", "video")
    }
    assert macro_f1 == {"train": 1.0, "val": 1.0, "test": 1.0}
    report = report_path(variant, expected)
    for path in (report, report.replace("report.html", "verdicts.csv")):
        assert variant.store.exists(path)


def test_reports_of_two_data_sets_with_one_model_coexist(sources: ReportSources) -> None:
    other = replace(sources, facts=replace(sources.facts, data_name="another"))
    variant, _ = run(sources)
    assert run(other)[1].num_computed == 1
    assert (run(sources)[1].is_cached, run(other)[1].is_cached) == (True, True)
    paths = [report_path(variant, expected_items(each)) for each in (sources, other)]
    names = [b"<title>" in variant.store.open(path).read() for path in paths]
    assert (len(set(paths)), names) == (2, [True, True])


def test_a_second_run_reads_nothing_and_writes_nothing(
    sources: ReportSources, monkeypatch: pytest.MonkeyPatch
) -> None:
    variant, _ = run(sources)
    before = files_of(variant)

    def never(*_: object) -> None:
        raise AssertionError("the report was computed again")

    monkeypatch.setattr(aggregate, "evaluate", never)
    variant, result = run(sources)
    assert result.is_cached
    assert files_of(variant) == before


@pytest.mark.parametrize("name", ["report.html", "verdicts.csv"])
def test_a_deleted_or_damaged_file_is_written_again(sources: ReportSources, name: str) -> None:
    variant, _ = run(sources)
    report = Path(variant.store.full_path(report_path(variant, expected_items(sources))))
    path = report.with_name(name)
    path.unlink()
    assert run(sources)[1].num_computed == 1
    path.write_text("damaged")
    assert run(sources)[1].num_computed == 1
    assert path.read_text(encoding="utf-8") != "damaged"


def test_a_full_disk_raises_a_store_error_and_leaves_no_files(
    sources: ReportSources, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(aggregate, "write_verdicts", full_disk)
        with pytest.raises(StoreError, match="No space left"):
            run(sources)
    assert list(Path(sources.manifest.store.full_path(".tmp")).iterdir()) == []
    assert run(sources)[1].num_computed == 1


def test_a_run_killed_before_the_marker_is_completed_by_the_next(
    sources: ReportSources, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bytes = Store.write_bytes

    def die_at_the_marker(store: Store, path: str, content: bytes) -> None:
        if "/done/" in path:
            raise KeyboardInterrupt
        write_bytes(store, path, content)

    undisturbed, _ = run(sources)
    expected = expected_items(sources)
    verdicts = undisturbed.read(VerdictRecord, expected)
    metrics = undisturbed.read(MetricRecord, expected)
    undisturbed.invalidate(expected)
    with monkeypatch.context() as patch:
        patch.setattr(Store, "write_bytes", die_at_the_marker)
        with pytest.raises(KeyboardInterrupt):
            run(sources)
    assert undisturbed.finished(expected) == set()
    variant, result = run(sources)
    assert result.num_computed == 1
    assert variant.read(VerdictRecord, expected) == verdicts
    assert variant.read(MetricRecord, expected) == metrics


def test_transcripts_are_neither_in_the_report_nor_in_the_rows(sources: ReportSources) -> None:
    variant, _ = run(sources)
    for path in files_of(variant):
        assert WORDS.encode() not in Path(path).read_bytes()


def test_other_predictions_or_rejections_invalidate_the_report(sources: ReportSources) -> None:
    first = expected_items(sources)
    changed = dict(sources.expected_predictions)
    changed[next(iter(changed))] = "another digest"
    assert expected_items(sources) == first
    assert expected_items(replace(sources, expected_predictions=changed)) != first
    assert expected_items(replace(sources, rejected=())) != first


def test_recomputed_predictions_invalidate_the_report_only_if_they_differ(
    sources: ReportSources,
) -> None:
    before, expected = expected_items(sources), sources.expected_predictions
    rows = sources.infer.read(PredictionRecord, expected)
    sources.infer.invalidate(expected)
    stored(sources.infer, rows)
    assert expected_items(sources) == before
    stored(sources.infer, [replace(rows[0], p_ah=0.99)])
    assert expected_items(sources) != before


def test_another_earlier_selection_invalidates_the_report(sources: ReportSources) -> None:
    variant, _ = run(sources)
    rows = tuple(variant.read(ThresholdRecord, expected_items(sources)))
    unlabeled = [replace(video, label=None) for video in sources.videos]
    samples = [sample(video, index) for video in unlabeled for index in (0, 1)]
    manifest = open_variant(variant.store, "manifest", version=1, settings={"labels": "none"})
    without_labels = replace(
        sources, manifest=manifest, expected_samples=stored(manifest, samples), videos=unlabeled,
        earlier=EarlierSelection(report_path=variant.path, thresholds=rows),
    )  # fmt: skip
    other, result = run(without_labels)
    assert result.num_computed == 1
    (rule,) = (
        row for row in other.read(ThresholdRecord, expected_items(without_labels)) if row.chosen
    )
    (earlier,) = (row for row in rows if row.chosen)
    assert (rule.method, rule.threshold, rule.score) == (earlier.method, earlier.threshold, None)
    assert run(without_labels)[1].is_cached
    moved = tuple(replace(row, threshold=0.3) for row in rows)
    newer = replace(
        without_labels, earlier=EarlierSelection(report_path=variant.path, thresholds=moved)
    )
    assert run(newer)[1].num_computed == 1


def test_each_model_of_an_ensemble_has_its_own_metrics(sources: ReportSources) -> None:
    store = sources.infer.store
    worse = open_variant(store, "infer", version=1, settings={"model": "worse"})
    rows = sources.infer.read(PredictionRecord, sources.expected_predictions)
    stored(worse, [replace(row, p_ah=1 - row.p_ah) for row in rows])
    several = replace(sources, members={"good": sources.infer, "worse <b>": worse})
    variant, _ = run(several)
    expected = expected_items(several)
    assert expected != expected_items(sources)
    found = {row.model: row for row in variant.read(MemberRecord, expected) if row.split == "test"}
    assert list(found) == ["ensemble", "good", "worse <b>"]
    (rule,) = (row for row in variant.read(ThresholdRecord, expected) if row.chosen)
    assert found["good"] == replace(found["ensemble"], model="good")
    assert (found["good"].threshold, found["good"].macro_f1) == (rule.threshold, 1.0)
    assert (found["worse <b>"].macro_f1 or 0, found["worse <b>"].average_precision or 0) < (
        0.5,
        0.9,
    )
    assert "worse &lt;b&gt;" in store.open(report_path(variant, expected)).read().decode()
    console = Console(width=80, file=io.StringIO(), record=True)
    console.print(
        result_table(
            variant.read(VerdictRecord, expected), [rule], variant.read(MetricRecord, expected), (),
            variant.read(MemberRecord, expected),
        )
    )  # fmt: skip
    text = console.export_text()
    assert "Ensemble members on test" in text
    assert any(line.split()[:1] == ["good"] and "1.000" in line for line in text.splitlines())


def test_settings_and_predictions_determine_the_variant(sources: ReportSources) -> None:
    variant, _ = run(sources)
    other_settings, _ = run(sources, AggregateConfig(bootstrap_draws=20, top_k=3))
    other_model = variant_of(
        variant.store,
        CONFIG,
        manifest=sources.manifest,
        infer=open_variant(variant.store, "infer", version=1, settings={"model": "other"}),
    )
    assert len({variant.variant_id, other_settings.variant_id, other_model.variant_id}) == 3


@pytest.mark.parametrize(
    "settings",
    [
        {"pooling_rules": ()},
        {"pooling_rules": ("mean", "mean")},
        {"pooling_rules": ("median",)},
        {"top_k": 0},
        {"interval_level": 1.0},
        {"threshold": 0.5},
    ],
)
def test_invalid_settings_raise(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        AggregateConfig.model_validate(settings)
