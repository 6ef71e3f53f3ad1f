"""Modality ablation: a model's metrics with every subset of its modalities, and a control.

Missing results of the stages up to the manifest are computed first. Then one task infers all arms
with one open model.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.task_runners import ThreadPoolTaskRunner
from rich.console import Console

from flows.commands.exit_status import ExitStatus
from flows.commands.progress import show_progress, with_prefect
from flows.context.context import Context, context_of
from flows.context.models import Model, resolve_models
from flows.context.preflight import check_before_start
from flows.context.request import RunRequest
from flows.context.rows import check_leakage, read_manifest
from flows.context.stage_names import StageName
from flows.pipeline import pipeline
from flows.running.holding import holding
from flows.running.submit import submit_all
from storage.errors import ConfigError, StageError
from storage.records import RejectedRecord, SampleRecord, SegmentId
from storage.results import PredictionRecord
from storage.schema import schema_of, to_table
from tasks.ablation.arms import ArmSamples, arms_of, with_samples
from tasks.ablation.comparison import SPLIT, AblationRecord, ArmPredictions, measure_arms
from tasks.ablation.infer_arms import infer_arms
from tasks.ablation.table import ablation_table, artifact_rows
from tasks.export.files import write_export
from tasks.export.output_path import check_output_file
from tasks.inference.samples import expected_items
from tasks.log import LOGGER

_ONE_AT_A_TIME: Any = ThreadPoolTaskRunner(max_workers=1)
_PREPARATION: tuple[StageName, ...] = ("segment", "transcribe", "manifest")
_SPLITS = ("val", SPLIT)  # thresholds are chosen on the first, metrics measured on the second


def ablate_and_show(request: RunRequest, out: Path | None) -> ExitStatus:
    """Infer all arms on the val and test segments, print their metrics, and write them to ``out``.

    Returns SOME_REJECTED if an arm rejected segments.

    Raises:
        ConfigError: there are no labels, fewer than two arms, or ``out`` cannot be used.
        StageError: the run has not trained its model yet, or a stage or the engine failed.
    """
    if out is not None:
        check_output_file(out)
    console = Console()
    preparation = request.model_copy(
        update={"only": _PREPARATION, "force": tuple(s for s in request.force if s in _PREPARATION)}
    )
    with show_progress(console), context_of(request) as context:
        _check(context)
        with with_prefect():
            pipeline(preparation)
            _check_measurable(read_manifest(context).samples)
            records, num_rejected = ablate_flow(request)
    console.print(ablation_table(records))
    if out is not None:
        table = to_table(AblationRecord, records)
        write_export(out, schema_of(AblationRecord), [table], {"kind": "ablation", "split": SPLIT})
    return ExitStatus.SOME_REJECTED if num_rejected else ExitStatus.DONE


def _check(context: Context) -> None:
    if not context.dataset.has_labels:
        raise ConfigError(
            f"The data set {context.request.data!r} has no labels, so an ablation cannot "
            "measure anything: label its videos."
        )
    check_before_start(context)
    if len(arms_of(context.settings.input)) < 2:
        raise ConfigError(
            "The settings of [input] enable a single modality, so an ablation has none to remove: "
            "enable another of input.video, input.audio and input.transcript."
        )


def _check_measurable(samples: Sequence[SampleRecord]) -> None:
    if not any(sample.split == SPLIT and sample.video_label is not None for sample in samples):
        raise ConfigError(
            "The test split has no labeled video, so an ablation cannot measure anything: assign "
            "some to it, or let manifest.split_by assign splits."
        )


@flow(name="ablate", flow_run_name="ablate", task_runner=_ONE_AT_A_TIME)
def ablate_flow(request: RunRequest) -> tuple[list[AblationRecord], int]:
    """Infer and measure all arms; returns their metrics and the number of rejected segments."""
    with context_of(request) as context:
        manifest, settings = read_manifest(context), context.settings
        check_leakage(context, manifest)
        samples = [sample for sample in manifest.samples if sample.split in _SPLITS]
        models = resolve_models(context, manifest, best_only=True)
        (model,) = models.members
        LOGGER.info("ablate: with %s", model.path)
        for warning in models.input_mismatches:
            LOGGER.warning("ablate: %s", warning)
        arms = prepare_arms(context, model, samples)
        arguments = {
            "arms": arms, "store": context.store, "model_path": model.path,
            "config": settings.infer, "resources": settings.resources.infer,
        }  # fmt: skip
        incomplete = [a.variant for a in arms if a.variant.pending(expected_items(a.samples))]
        with holding("ablate", incomplete):
            submit_all(infer_arms, [arguments])[0].result()
        rejected = sum(
            len(arm.variant.read(RejectedRecord, expected_items(arm.samples))) for arm in arms
        )
        with tempfile.TemporaryDirectory(prefix="waver-ablate-") as folder:
            plan = settings.aggregate.plan()
            predictions = [_read_predictions(arm) for arm in arms]
            records = measure_arms(samples, predictions, plan, Path(folder))
    create_table_artifact(
        key="ablation",
        table=artifact_rows(records),
        description="Metrics of each arm on the test split.",
    )
    return records, rejected


def prepare_arms(
    context: Context, model: Model, samples: Sequence[SampleRecord]
) -> list[ArmSamples]:
    """Return every arm with its samples; invalidates its predictions if `infer` is forced."""
    settings = context.settings
    arms = [
        with_samples(arm, samples, context.store, settings.infer, model.fingerprint)
        for arm in arms_of(settings.input)
    ]
    if "infer" in context.request.force:
        for arm in arms:
            arm.variant.invalidate(expected_items(arm.samples))
    return arms


def _read_predictions(arm: ArmSamples) -> ArmPredictions:
    """Read an arm's predictions, under the ids that its segments have in the manifest.

    Raises:
        StageError: some are missing.
    """
    expected = expected_items(arm.samples)
    if missing := len(arm.variant.pending(expected)):
        raise StageError(
            f"The arm {arm.arm.name!r} lacks {missing} of {len(expected)} predictions: run again."
        )
    original = {id_in_arm: SegmentId(original) for original, id_in_arm in arm.ids_in_arm.items()}
    rows = arm.variant.read(PredictionRecord, expected)
    return ArmPredictions(
        name=arm.arm.name,
        is_control=arm.arm.is_control,
        predictions=[replace(row, segment_id=original[row.segment_id]) for row in rows],
    )
