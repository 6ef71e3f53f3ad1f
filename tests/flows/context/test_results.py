from pathlib import Path

from flows.context.context import open_context
from flows.context.request import RunRequest
from flows.context.results import open_report
from storage.results import ThresholdRecord, VerdictRecord
from tests.flows.toys import finish


def test_without_labels_verdicts_use_the_thresholds_that_an_earlier_run_chose_for_the_model(
    finished: RunRequest, tmp_path: Path
) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "files").mkdir()
    (tmp_path / "new" / "a.mp4").write_bytes(b"a")
    request = finished.model_copy(update={"data": str(tmp_path / "new")})
    finish(request, tmp_path / "files")
    labeled, unlabeled = open_report(open_context(finished)), open_report(open_context(request))
    assert labeled.inference.earlier is None, "it has chosen by itself"
    (chosen,) = (row for row in labeled.read(ThresholdRecord) if row.chosen)
    earlier = unlabeled.inference.earlier
    assert earlier is not None
    assert earlier.rule == chosen
    (verdict,) = (row for row in unlabeled.read(VerdictRecord) if row.chosen)
    assert (verdict.pooling_rule, verdict.threshold) == (chosen.method, chosen.threshold)
    assert verdict.pooling_rule == "top_k_mean", "untuned it is the mean"
    again = open_report(open_context(request))
    assert again.expected == unlabeled.expected, "its own report is no choice"
    assert unlabeled.inference.warnings == ()


def test_a_finished_report_names_what_was_rejected_before_it(finished: RunRequest) -> None:
    report = open_report(open_context(finished))
    assert [row.reason for row in report.inference.rejected] == ["damaged"]
    assert len(report.inference.predictions) == 15
    assert report.inference.models.name == finished.models[0]


def test_segments_whose_annotation_was_lost_are_in_no_metric_and_counted_in_the_report(
    finished: RunRequest, tmp_path: Path
) -> None:
    path = Path(finished.data) / "video_annotation_transcript.yaml"
    times, reversed_times = "['00:00:01.000', '00:00:03.500']", "['00:00:03.500', '00:00:01.000']"
    path.write_text(path.read_text().replace(times, reversed_times, 1))
    (tmp_path / "files").mkdir()
    finish(finished, tmp_path / "files")
    report = open_report(open_context(finished))
    samples = report.inference.manifest.samples
    lost = [sample for sample in samples if sample.label is None]
    assert {sample.video_label for sample in lost} == {1}
    assert not any(sample.in_training for sample in lost)
    (notice,) = report.sources.facts.notices
    assert notice.startswith(f"{len(lost)} segments of 1 videos stay unlabeled")
