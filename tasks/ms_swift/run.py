"""One training job with ms-swift, with the same input and result as Waver's own training.

ms-swift trains in its own environment; its checkpoints are in the job's work folder, and it resumes
from them. The best checkpoint is then opened here, evaluated on the validation samples like every
model, and saved in the same format.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from storage.records import SampleRecord
from storage.store.store import Store
from tasks.ms_swift.checkpoints import last_checkpoint, open_checkpoint, step_of, version_of
from tasks.ms_swift.history import drop_steps_after
from tasks.ms_swift.monitor import SwiftMonitor, run_program
from tasks.ms_swift.program import check_no_code, find_swift, swift_environment
from tasks.ms_swift.source import TrainingSource, command_for, differences, write_source
from tasks.training.checkpoints.checkpoints import Checkpoints, Progress
from tasks.training.context import TrainingContext
from tasks.training.data.batches import val_batches
from tasks.training.data.reading import open_reader
from tasks.training.distributed.launch import num_processes, uses_cpu
from tasks.training.distributed.ranks import Ranks
from tasks.training.evaluate import evaluate, predict_validation
from tasks.training.job import (
    MODEL_FOLDER,
    TrainingJob,
    ValidationPrediction,
    curve_path_of,
    read_job,
    write_result,
)
from tasks.training.run import write_model
from tasks.training.selection import select_samples
from tasks.training.tracking.callbacks import CallbackList, CurveFile, TrainingCallback
from tasks.training.tracking.trackers import Trackers


def run_swift_job(job_path: Path, report: Callable[[str], None]) -> None:
    """Train the job's model, and write the result.

    Raises:
        ToolError: ms-swift is not installed.
        ConfigError: the settings cannot be expressed as its options.
        ModelError: the base contains code, or other layers were trained.
        StageError: ms-swift failed, or training diverged.
    """
    job, samples = read_job(job_path)
    check_no_code(job.model_path)
    trackers = Trackers(job.work_path, job.resources.report_to, job.training.resolved())
    callback = CallbackList(trackers, CurveFile(curve_path_of(job_path)))
    checkpoints = Checkpoints(job.checkpoints_path, job.identity)  # locks the training's folder
    progress, checkpoint = _train(job, samples, job_path.parent, callback, report)
    ranks = Ranks(cpu=uses_cpu(job.resources))
    opened = open_checkpoint(checkpoint, job, ranks.device)
    _, val_samples = select_samples(samples, job.training)
    with open_reader(job, opened, ranks, val_samples, report) as reader:
        context = TrainingContext(
            settings=job.training,
            plan=job.plan,
            resources=job.resources,
            opened=opened,
            reader=reader,
            train_samples=(),
            val_samples=val_samples,
            checkpoints=checkpoints,
            ranks=ranks,
            report=report,
            callback=callback,
        )
        predictions = _evaluate(context, progress)
    report(f"saving the model with the weights of step {progress.best_step}")
    model_folder = job_path.parent / MODEL_FOLDER
    result = write_model(model_folder, job, opened, progress, trackers)
    _add_version(model_folder / "settings.json", version_of(checkpoint))
    write_result(result, progress.log, predictions, job_path.parent)


def _train(
    job: TrainingJob,
    samples: Sequence[SampleRecord],
    folder: Path,
    callback: TrainingCallback,
    report: Callable[[str], None],
) -> tuple[Progress, Path]:
    """Run ms-swift; returns its progress and the checkpoint to keep."""
    source, output, rows = _source(job, samples), job.work_path / "swift", folder / "rows"
    rows.mkdir()
    write_source(rows, source, rows)
    command = command_for(
        source,
        folder=f"{rows}/",
        output=str(output),
        num_processes=num_processes(job.resources),
    )
    resume_options = _resume(output, source.num_steps, report)
    for line in differences(source):
        report(line)
    monitor = SwiftMonitor(output, job.training, source.num_steps, callback, report)
    program = find_swift(job.resources.swift_command)
    environment = {**swift_environment(), **command.environment}
    run_program([program, *command.arguments, *resume_options], environment, monitor.poll)
    return monitor.progress, monitor.finish()


def _resume(output: Path, num_steps: int, report: Callable[[str], None]) -> list[str]:
    """Return ms-swift's options to resume from its last complete checkpoint, if any."""
    checkpoint = last_checkpoint(output)
    if checkpoint is None:
        shutil.rmtree(output, ignore_errors=True)
        return []
    report(f"resuming after step {step_of(checkpoint)} of {num_steps}")
    drop_steps_after(output, step_of(checkpoint))
    return ["--resume_from_checkpoint", str(checkpoint)]


def _source(job: TrainingJob, samples: Sequence[SampleRecord]) -> TrainingSource:
    """Return ms-swift's input; trackers are updated by this process, not by ms-swift."""
    return TrainingSource(
        store=Store(job.store_url),
        samples=samples,
        plan=job.plan,
        settings=job.training,
        config=job.input,
        resources=job.resources.model_copy(update={"report_to": ()}),
        model=str(job.model_path),
    )


def _evaluate(context: TrainingContext, progress: Progress) -> list[ValidationPrediction]:
    """Add the kept weights' validation metrics to their step's row, and predict."""
    if not context.val_samples:
        return []
    opened, best = context.opened, progress.best_step - 1
    metrics = evaluate(
        opened.trained,
        (batch for _, batch in val_batches(context)),
        token_yes=opened.token_yes,
        token_no=opened.token_no,
        ranks=context.ranks,
    )
    progress.log[best] = replace(
        progress.log[best],
        val_loss=metrics.loss,
        val_macro_f1=metrics.macro_f1,
        val_average_precision=metrics.average_precision,
    )
    return predict_validation(context)


def _add_version(settings_path: Path, version: str | None) -> None:
    """Add the version of ms-swift to a model's settings."""
    settings = {**json.loads(settings_path.read_bytes()), "ms_swift": version}
    text = json.dumps(settings, indent=2, sort_keys=True, ensure_ascii=False)
    settings_path.write_text(text, encoding="utf-8")
