"""The flow of each stage. All take the whole request, so that each can be deployed alone.

A flow gives its caller the stage's report, and raises why it failed.
"""

import logging
import os
from dataclasses import asdict, replace
from typing import Any

from prefect import State, flow
from prefect.artifacts import create_table_artifact
from prefect.task_runners import ThreadPoolTaskRunner

from flows import stage_definitions
from flows.context.context import Context
from flows.context.models import Model, resolve_models
from flows.context.request import RunRequest
from flows.context.results import Report, open_report
from flows.context.rows import (
    ManifestRows,
    check_leakage,
    expected_videos,
    read_class_plan,
    read_manifest,
)
from flows.running.begin import begin_run
from flows.running.run_stage import run_shards, run_stage
from flows.running.stage import StageReport
from flows.running.stage_flow import run_stage_flow
from storage.media_records import MediaFacts
from storage.records import IssueRecord
from storage.results import MetricRecord, ThresholdRecord, VerdictRecord
from tasks.aggregate import report_path
from tasks.evaluation.display import METHOD_NAMES
from tasks.labels.cut_points import LENGTHS_LEAK
from tasks.labels.label_summary import summarize_labels
from tasks.log import LOGGER
from tasks.report.headline import headline
from tasks.report.table import metric_rows, verdict_rows

_THREADS: Any = ThreadPoolTaskRunner(max_workers=os.cpu_count())
_ONE_AT_A_TIME: Any = ThreadPoolTaskRunner(max_workers=1)


@flow(name="segment", flow_run_name="segment", on_running=[begin_run], task_runner=_THREADS)
def segment_flow(request: RunRequest) -> State[StageReport]:
    """Cut every video into segments."""
    return run_stage_flow("segment", request, _segment)


def _segment(context: Context) -> StageReport:
    if context.settings.segment.boundaries == "annotated":
        LOGGER.warning(LENGTHS_LEAK)
    context = context.with_own_videos()
    report = run_stage(stage_definitions.segment_stage(context), context)
    _warn_of_media(context)
    return report


def _warn_of_media(context: Context) -> None:
    """Warn of the number of videos that were cut with a warning."""
    media = context.look(context.segment, expected_videos(context)).read(MediaFacts)
    if num_warned := sum(bool(facts.warnings) for facts in media):
        LOGGER.warning(
            "segment: %d of %d videos were cut with a warning: see `waver check`, or the report",
            num_warned, len(media),
        )  # fmt: skip


@flow(name="transcribe", flow_run_name="transcribe", on_running=[begin_run], task_runner=_THREADS)
def transcribe_flow(request: RunRequest) -> State[StageReport]:
    """Transcribe every segmented video as a whole."""
    return run_stage_flow("transcribe", request, _transcribe)


def _transcribe(context: Context) -> StageReport:
    return run_stage(stage_definitions.transcribe_stage(context), context)


@flow(name="manifest", flow_run_name="manifest", on_running=[begin_run], task_runner=_THREADS)
def manifest_flow(request: RunRequest) -> State[StageReport]:
    """Write the sample manifest; fail if its splits leak, unless only a partition is written."""
    return run_stage_flow("manifest", request, _manifest)


def _manifest(context: Context) -> StageReport:
    report = run_stage(stage_definitions.manifest_stage(context), context)
    if context.request.partition is not None:
        return report  # a run of the whole stage checks the whole manifest
    manifest = read_manifest(context)
    check_leakage(context, manifest)
    _show_labels(context, manifest)
    _plan_classes(context, manifest)
    return report


def _show_labels(context: Context, manifest: ManifestRows) -> None:
    """Show how many segments have which label, and warn of labels that are missing."""
    issues = context.look(context.manifest, manifest.expected).read(IssueRecord)
    summary = summarize_labels(manifest.samples, issues)
    for warning in summary.warnings():
        LOGGER.warning("manifest: %s", warning)
    create_table_artifact(
        key="manifest-labels",
        table=summary.rows(),
        description=" ".join(("Segments by split and label.", *summary.warnings())),
    )


def _plan_classes(context: Context, manifest: ManifestRows) -> None:
    """Decide how much each class counts in training, if there are training samples."""
    if run_shards(stage_definitions.class_plan_stage(context, manifest), context):
        create_table_artifact(
            key="manifest-classes",
            table=[asdict(row) for row in read_class_plan(context, manifest)],
            description="How much each class counts in training.",
        )


@flow(name="finetune", flow_run_name="finetune", on_running=[begin_run], task_runner=_ONE_AT_A_TIME)
def finetune_flow(request: RunRequest) -> State[StageReport]:
    """Fine-tune one model per seed on the training samples; fail if the splits leak."""
    return run_stage_flow("finetune", request, _finetune)


def _finetune(context: Context) -> StageReport:
    manifest = read_manifest(context)
    check_leakage(context, manifest)
    return run_stage(stage_definitions.finetune_stage(context, manifest), context)


@flow(name="infer", flow_run_name="infer", on_running=[begin_run], task_runner=_ONE_AT_A_TIME)
def infer_flow(request: RunRequest) -> State[StageReport]:
    """Predict every segment; the models of an ensemble run one after another."""
    return run_stage_flow("infer", request, _infer)


def _infer(context: Context) -> StageReport:
    manifest = read_manifest(context)
    models = resolve_models(context, manifest)
    LOGGER.info("infer: model %s", models.name)
    for warning in models.input_mismatches:
        LOGGER.warning("infer: %s", warning)
    if not models.is_ensemble:
        return _infer_with(context, manifest, models.members[0])
    for model in models.members:
        LOGGER.info("infer: member %s", model.name)
        _infer_with(context, manifest, model)
    return run_stage(stage_definitions.ensemble_stage(context, manifest, models), context)


def _infer_with(context: Context, manifest: ManifestRows, model: Model) -> StageReport:
    """Predict every segment with one model."""
    return run_stage(stage_definitions.infer_stage(context, manifest, model), context)


@flow(
    name="aggregate", flow_run_name="aggregate", on_running=[begin_run], task_runner=_ONE_AT_A_TIME
)
def aggregate_flow(request: RunRequest) -> State[StageReport]:
    """Pool predictions to verdicts, measure them, write the report; fail if the splits leak."""
    return run_stage_flow("aggregate", request, _aggregate)


def _aggregate(context: Context) -> StageReport:
    report = open_report(context)
    check_leakage(context, report.inference.manifest)
    stage_report = run_stage(stage_definitions.aggregate_stage(context, report), context)
    _log_rule(report)
    _show_figures(report)
    return replace(stage_report, headline=_headline(context, report))


def _log_rule(report: Report) -> None:
    """Log the pooling rule of the verdicts; warn if it was not chosen on this data's validation."""
    rule = next(row for row in report.read(ThresholdRecord) if row.chosen)
    earlier = report.inference.earlier
    LOGGER.log(
        logging.INFO if rule.score is not None or earlier else logging.WARNING,
        "aggregate: verdicts by %s at %.3f (%s)", METHOD_NAMES[rule.method], rule.threshold,
        rule.reason,
    )  # fmt: skip
    if earlier is not None and earlier.caveat is not None:
        LOGGER.warning("aggregate: %s", earlier.caveat)


def _show_figures(report: Report) -> None:
    """Show verdict counts and metrics in the Prefect UI."""
    verdicts, metrics = report.read(VerdictRecord), report.read(MetricRecord)
    for name, rows in (("verdicts", verdict_rows(verdicts)), ("figures", metric_rows(metrics))):
        create_table_artifact(
            key=f"aggregate-{name}", table=rows, description=f"The {name} of the report."
        )


def _headline(context: Context, report: Report) -> tuple[str, ...]:
    """Return the report's main results and its path, in Markdown."""
    path = context.store.location(report_path(report.variant, report.expected))
    is_link = path.startswith(("http://", "https://"))
    lines = headline(
        report.read(VerdictRecord), report.read(ThresholdRecord), report.read(MetricRecord)
    )
    return (*lines, f"Report: [{path}]({path})" if is_link else f"Report: `{path}`")
