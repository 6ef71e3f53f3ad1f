"""One flow a stage: what it wants, dealt into shards; what came of it, shown in the Prefect UI."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from prefect import State, flow
from prefect.artifacts import create_table_artifact
from prefect.futures import PrefectFuture, wait
from prefect.states import Completed
from prefect.task_runners import ThreadPoolTaskRunner

from flows.opening import open_to_work
from flows.request import RunRequest, StageName
from flows.run import Run
from storage.errors import StageError, WaverError
from storage.records import RejectedRecord, SampleRecord
from storage.results import MetricRecord, VerdictRecord
from storage.variant import Variant
from tasks.aggregate import aggregate_shard
from tasks.child import allow_children, stop_children
from tasks.finetune import finetune_models
from tasks.infer import infer_shard
from tasks.labels.marks import LENGTHS_LEAK
from tasks.labels.splits import check_no_leakage
from tasks.log import LOGGER
from tasks.manifest import PLAN_ITEM, class_plan, manifest_shard
from tasks.omni.ensemble import ensemble_shard
from tasks.segment import segment_shard
from tasks.stage import Shard, ShardResult, split_into_shards
from tasks.transcribe import transcribe_shard
from tasks.verdicts.table import metric_rows, verdict_rows

_THREADS: Any = ThreadPoolTaskRunner(max_workers=os.cpu_count())
_SHARDS_PER_CORE = 4
_ONE_AT_A_TIME: Any = ThreadPoolTaskRunner(max_workers=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class StageReport:
    """What a stage found there, made and rejected; ``seconds`` is its wall time."""

    stage: str
    variant_id: str
    num_wanted: int
    num_cached: int
    num_made: int
    num_rejected: int
    seconds: float

    @property
    def is_cached(self) -> bool:
        """True if the stage had nothing to make."""
        return self.num_made == 0


def _run_stage(
    run: Run,
    stage: StageName,
    variant: Variant,
    wanted: Mapping[str, str],
    submit: Callable[[Shard], PrefectFuture[Any]],
    shard_size: int,
) -> State[StageReport]:
    """Deal a stage's items into shards, wait for all of them, and report.

    The state is named Cached where nothing had to be made. One failed shard does not stop the
    others; its error is raised when all have ended.
    """
    begun = time.monotonic()
    if stage in run.request.force:
        variant.forget(wanted)
    shards = split_into_shards(wanted, shard_size)
    LOGGER.info("%s: %d wanted, shards: %d", stage, len(wanted), len(shards))
    futures = _wait_for(submit, shards)
    results = [_result_of(stage, future.state) for future in futures]
    rejected = variant.read(RejectedRecord, wanted)
    report = StageReport(
        stage=stage,
        variant_id=variant.variant_id,
        num_wanted=len(wanted),
        num_cached=sum(result.num_cached for result in results),
        num_made=sum(result.num_made for result in results),
        num_rejected=len(rejected),
        seconds=time.monotonic() - begun,
    )
    _show(report, rejected)
    return Completed(name="Cached" if report.is_cached else "Completed", data=report)


def _wait_for(
    submit: Callable[[Shard], PrefectFuture[Any]], shards: Sequence[Shard]
) -> list[PrefectFuture[Any]]:
    """Wait for all shards; a run that is stopped ends what it started, and does not wait for it."""
    allow_children()
    try:
        futures = [submit(shard) for shard in shards]
        wait(futures)
    except BaseException:  # Ctrl-C, or Prefect's word for SIGTERM
        stop_children()
        raise
    return futures


def _result_of(stage: str, state: State[Any]) -> ShardResult:
    """Give a shard's result, or raise why it failed."""
    if state.is_completed():
        return state.result()
    error = state.result(raise_on_failure=False)
    if isinstance(error, WaverError):
        raise error
    raise StageError(f"Stage {stage!r} did not finish: {error!r}.") from (
        error if isinstance(error, BaseException) else None
    )


def _show(report: StageReport, rejected: list[RejectedRecord]) -> None:
    """Put the stage's result table, and what it rejected, into the Prefect UI."""
    create_table_artifact(
        key=f"{report.stage}-result",
        table=[
            {
                "wanted": report.num_wanted,
                "there already": report.num_cached,
                "made": report.num_made,
                "rejected": report.num_rejected,
                "seconds": round(report.seconds, 1),
                "variant": report.variant_id,
            }
        ],
        description=f"What stage {report.stage} found there, made and rejected.",
    )
    if rejected:
        create_table_artifact(
            key=f"{report.stage}-rejected",
            table=[{"row": row.item_id, "reason": row.reason} for row in rejected],
            description=f"What stage {report.stage} could not use, and why.",
        )
    LOGGER.info(
        "%s: %d there, %d made, %d rejected in %.1f s",
        report.stage, report.num_cached, report.num_made, report.num_rejected, report.seconds,
    )  # fmt: skip


def for_every_core(num_videos: int, shard_size: int) -> int:
    """Make shards small enough that a small folder, of long and short videos, keeps cores busy."""
    num_shards = _SHARDS_PER_CORE * (os.cpu_count() or 1)
    return max(1, min(shard_size, -(-num_videos // num_shards)))


@flow(name="segment", flow_run_name="segment", task_runner=_THREADS)
def segment_flow(request: RunRequest) -> State[StageReport]:
    """Cut every video into segments."""
    with open_to_work(request) as run:
        settings = run.settings
        if settings.segment.cuts == "annotated":
            LOGGER.warning(LENGTHS_LEAK)
        return _run_stage(
            run, "segment", run.segment, run.videos_wanted,
            lambda shard: segment_shard.submit(
                shard, run.sources, settings.segment, run.segment, settings.resources.segment
            ),
            for_every_core(len(run.videos_wanted), settings.resources.shard_videos),
        )  # fmt: skip


@flow(name="transcribe", flow_run_name="transcribe", task_runner=_THREADS)
def transcribe_flow(request: RunRequest) -> State[StageReport]:
    """Transcribe every segmented video whole."""
    with open_to_work(request) as run:
        settings = run.settings
        return _run_stage(
            run, "transcribe", run.transcribe, run.segmented_wanted,
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
        state = _run_stage(
            run, "manifest", run.manifest, run.inputs_wanted,
            lambda shard: manifest_shard.submit(
                shard, run.video_inputs, settings.manifest, run.manifest
            ),
            settings.resources.shard_videos,
        )  # fmt: skip
        check_no_leakage(run.samples, run.prints)
        _plan_classes(run)
        return state


def _plan_classes(run: Run) -> None:
    """Decide what each class counts in training, and put it into the Prefect UI."""
    wanted = run.class_plan_wanted
    if not wanted:
        return
    if "manifest" in run.request.force:
        run.manifest.forget(wanted)
    shard = Shard(name=PLAN_ITEM, wanted=wanted)
    future = class_plan.submit(shard, run.samples, run.settings.manifest, run.manifest)
    wait([future])
    _result_of("manifest", future.state)
    create_table_artifact(
        key="manifest-classes",
        table=[asdict(row) for row in run.class_plan],
        description="What each class counts in training.",
    )


@flow(name="finetune", flow_run_name="finetune", task_runner=_ONE_AT_A_TIME)
def finetune_flow(request: RunRequest) -> State[StageReport]:
    """Fine-tune one model a seed on the training rows, unless the splits leak; a shard is one."""
    with open_to_work(request) as run:
        check_no_leakage(run.samples, run.prints)
        settings = run.settings
        return _run_stage(
            run, "finetune", run.finetune, run.models_wanted,
            lambda shard: finetune_models.submit(
                shard, run.samples, run.class_plan, settings.finetune, settings.input,
                settings.resources.finetune, run.finetune, run.manifest.path,
            ),
            1,
        )  # fmt: skip


@flow(name="infer", flow_run_name="infer", task_runner=_ONE_AT_A_TIME)
def infer_flow(request: RunRequest) -> State[StageReport]:
    """Ask the model about every segment; one shard, since the engine is opened once.

    Of several seeds that answer together each is a variant of its own.
    """
    with open_to_work(request) as run:
        LOGGER.info("infer: with %s", run.model_name)
        if not run.is_ensemble:
            return _infer_by(run, run.model_path)
        for path in run.seed_paths:
            _infer_by(run, path)
        variants = [run.infer_by(path) for path in run.seed_paths]
        return _run_stage(
            run, "infer", run.infer, run.segments_wanted,
            lambda shard: ensemble_shard.submit(shard, variants, run.infer),
            max(1, len(run.samples)),
        )  # fmt: skip


def _infer_by(run: Run, model_path: Path) -> State[StageReport]:
    """Ask one model about every segment."""
    settings, variant = run.settings, run.infer_by(model_path)
    samples: dict[str, SampleRecord] = {sample.segment_id: sample for sample in run.samples}
    return _run_stage(
        run, "infer", variant, run.segments_wanted,
        lambda shard: infer_shard.submit(
            shard, samples, model_path, settings.infer, settings.input, settings.resources.infer,
            variant,
        ),
        max(1, len(samples)),
    )  # fmt: skip


@flow(name="aggregate", flow_run_name="aggregate", task_runner=_ONE_AT_A_TIME)
def aggregate_flow(request: RunRequest) -> State[StageReport]:
    """Pool the answers to verdicts, measure them, write the report, unless the splits leak."""
    with open_to_work(request) as run:
        check_no_leakage(run.samples, run.prints)
        settings = run.settings
        state = _run_stage(
            run, "aggregate", run.aggregate, run.report_wanted,
            lambda shard: aggregate_shard.submit(
                shard, run.report_sources, settings.aggregate, run.aggregate
            ),
            1,
        )  # fmt: skip
        _show_figures(run)
        return state


def _show_figures(run: Run) -> None:
    """Put verdict counts and figures into the Prefect UI."""
    variant, wanted = run.aggregate, run.report_wanted
    verdicts, metrics = variant.read(VerdictRecord, wanted), variant.read(MetricRecord, wanted)
    for name, rows in (("verdicts", verdict_rows(verdicts)), ("figures", metric_rows(metrics))):
        create_table_artifact(
            key=f"aggregate-{name}", table=rows, description=f"The report's {name}."
        )
