"""One flow a stage: what it wants, and the task that makes a shard of it."""

import logging
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from prefect import State, flow
from prefect.artifacts import create_table_artifact
from prefect.futures import wait
from prefect.task_runners import ThreadPoolTaskRunner

from flows.context.open import open_to_work
from flows.context.request import RunRequest
from flows.context.run_context import Run
from flows.distributed.partitions import asking
from flows.stage import StageReport, result_of, run_stage
from storage.results import MetricRecord, VerdictRecord
from tasks.aggregate import aggregate_shard
from tasks.ensemble import ensemble_shard
from tasks.evaluation.display import METHOD_NAMES
from tasks.finetune import finetune_models
from tasks.labels.cut_points import LENGTHS_LEAK
from tasks.labels.leakage import check_no_leakage
from tasks.log import LOGGER
from tasks.manifest import PLAN_ITEM, class_plan, manifest_shard
from tasks.report.table import metric_rows, verdict_rows
from tasks.segment import segment_shard
from tasks.stage import Shard
from tasks.transcribe import transcribe_shard

_THREADS: Any = ThreadPoolTaskRunner(max_workers=os.cpu_count())
_SHARDS_PER_CORE = 4
_ONE_AT_A_TIME: Any = ThreadPoolTaskRunner(max_workers=1)


def for_every_core(num_videos: int, shard_size: int) -> int:
    """Make shards small enough that a small folder, of long and short videos, keeps cores busy."""
    num_shards = _SHARDS_PER_CORE * (os.cpu_count() or 1)
    return max(1, min(shard_size, -(-num_videos // num_shards)))


@flow(name="segment", flow_run_name="segment", task_runner=_THREADS)
def segment_flow(request: RunRequest) -> State[StageReport]:
    """Cut every video into segments."""
    with open_to_work(request) as run:
        settings = run.settings
        if settings.segment.boundaries == "annotated":
            LOGGER.warning(LENGTHS_LEAK)
        return run_stage(
            run, "segment", run.segment, run.expected_videos,
            lambda shard: segment_shard.submit(
                shard, run.sources, settings.segment, run.segment, settings.resources.segment
            ),
            for_every_core(len(run.expected_videos), settings.resources.shard_videos),
        )  # fmt: skip


@flow(name="transcribe", flow_run_name="transcribe", task_runner=_THREADS)
def transcribe_flow(request: RunRequest) -> State[StageReport]:
    """Transcribe every segmented video whole."""
    with open_to_work(request) as run:
        settings = run.settings
        return run_stage(
            run, "transcribe", run.transcribe, run.expected_transcripts,
            lambda shard: transcribe_shard.submit(
                shard, run.segments, settings.transcribe, run.transcribe
            ),
            settings.resources.shard_videos,
        )  # fmt: skip


@flow(name="manifest", flow_run_name="manifest", task_runner=_THREADS)
def manifest_flow(request: RunRequest) -> State[StageReport]:
    """Write the sample manifest, and refuse one whose splits leak."""
    with open_to_work(request) as run:
        settings = run.settings
        state = run_stage(
            run, "manifest", run.manifest, run.expected_inputs,
            lambda shard: manifest_shard.submit(
                shard, run.video_inputs, settings.manifest, run.manifest
            ),
            settings.resources.shard_videos,
        )  # fmt: skip
        check_no_leakage(run.samples, run.hashes)
        _plan_classes(run)
        return state


def _plan_classes(run: Run) -> None:
    """Decide what each class counts in training, and put it into the Prefect UI."""
    expected = run.expected_class_plan
    if not expected:
        return
    if "manifest" in run.request.force:
        run.manifest.invalidate(expected)
    shard = Shard(name=PLAN_ITEM, expected=expected)
    future = class_plan.submit(shard, run.samples, run.settings.manifest, run.manifest)
    wait([future])
    result_of("manifest", future.state)
    create_table_artifact(
        key="manifest-classes",
        table=[asdict(row) for row in run.class_plan],
        description="What each class counts in training.",
    )


@flow(name="finetune", flow_run_name="finetune", task_runner=_ONE_AT_A_TIME)
def finetune_flow(request: RunRequest) -> State[StageReport]:
    """Fine-tune one model a seed on the training rows, unless the splits leak; a shard is one."""
    with open_to_work(request) as run:
        check_no_leakage(run.samples, run.hashes)
        settings = run.settings
        return run_stage(
            run, "finetune", run.finetune, run.expected_models,
            lambda shard: finetune_models.submit(
                shard, run.samples, run.class_plan, settings.finetune, settings.input,
                settings.resources.finetune, run.finetune, run.sample_source,
            ),
            1,
        )  # fmt: skip


@flow(name="infer", flow_run_name="infer", task_runner=_ONE_AT_A_TIME)
def infer_flow(request: RunRequest) -> State[StageReport]:
    """Ask the model about every segment; one shard, since the engine is opened once.

    Of several models that answer together each is opened in turn, and is a variant of its own.
    """
    with open_to_work(request) as run:
        LOGGER.info("infer: with %s", run.model_name)
        for message in run.input_mismatches:
            LOGGER.warning("infer: %s", message)
        if not run.is_ensemble:
            return _infer_by(run, run.model_path)
        for name, path in run.model_paths.items():
            LOGGER.info("infer: asks %s", name)
            _infer_by(run, path)
        variants = list(run.members.values())
        return run_stage(
            run, "infer", run.infer, run.expected_segments,
            lambda shard: ensemble_shard.submit(shard, variants, run.infer),
            max(1, len(run.samples)),
        )  # fmt: skip


def _infer_by(run: Run, model_path: Path) -> State[StageReport]:
    """Ask one model about every segment."""
    return run_stage(
        run, "infer", run.infer_by(model_path), run.expected_segments, asking(run, model_path),
        max(1, len(run.samples)),
    )  # fmt: skip


@flow(name="aggregate", flow_run_name="aggregate", task_runner=_ONE_AT_A_TIME)
def aggregate_flow(request: RunRequest) -> State[StageReport]:
    """Pool the answers to verdicts, measure them, write the report, unless the splits leak."""
    with open_to_work(request) as run:
        check_no_leakage(run.samples, run.hashes)
        settings = run.settings
        state = run_stage(
            run, "aggregate", run.aggregate, run.expected_report,
            lambda shard: aggregate_shard.submit(
                shard, run.report_sources, settings.aggregate, run.aggregate
            ),
            1,
        )  # fmt: skip
        _log_rule(run)
        _show_figures(run)
        return state


def _log_rule(run: Run) -> None:
    """Say by which rule verdicts were made, and warn where it was not chosen on this validation."""
    rule = next(row for row in run.thresholds if row.chosen)
    LOGGER.log(
        logging.INFO if rule.score is not None or run.earlier else logging.WARNING,
        "aggregate: verdicts by %s at %.3f (%s)", METHOD_NAMES[rule.method], rule.threshold,
        rule.reason,
    )  # fmt: skip
    if run.earlier is not None and run.earlier.caveat is not None:
        LOGGER.warning("aggregate: %s", run.earlier.caveat)


def _show_figures(run: Run) -> None:
    """Put verdict counts and figures into the Prefect UI."""
    variant, expected = run.aggregate, run.expected_report
    verdicts, metrics = variant.read(VerdictRecord, expected), variant.read(MetricRecord, expected)
    for name, rows in (("verdicts", verdict_rows(verdicts)), ("figures", metric_rows(metrics))):
        create_table_artifact(
            key=f"aggregate-{name}", table=rows, description=f"The report's {name}."
        )
