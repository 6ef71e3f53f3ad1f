"""One training job by ms-swift, from its folder to its result, as Waver's own training leaves it.

ms-swift trains in its environment; what it has reached is kept where ours is, and gone on from. The
kept checkpoint is then opened here, measured on the validation samples as every model is, and
written in the same form.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from storage.records import SampleRecord
from storage.store.store import Store
from tasks.ms_swift.follow import Follower, run_program
from tasks.ms_swift.history import drop_steps_after
from tasks.ms_swift.program import check_no_code, find_swift, swift_environment
from tasks.ms_swift.result import last_checkpoint, open_checkpoint, step_of, version_of
from tasks.ms_swift.source import TrainingSource, command_for, differences, write_source
from tasks.training.checkpoints.checkpoints import Checkpoints, Progress
from tasks.training.data.batches import Training
from tasks.training.data.reading import open_reader
from tasks.training.distributed.launch import num_processes, on_processor
from tasks.training.distributed.ranks import Ranks
from tasks.training.evaluate import evaluate
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
from tasks.training.tracking.trackers import CurveFile, StepListener, StepListeners, Trackers
from tasks.training.validation import predict_validation


def run_swift_job(job_path: Path, say: Callable[[str], None]) -> None:
    """Have the job's model trained, and write the result.

    Raises:
        ToolError: ms-swift is not installed.
        ConfigError: the settings cannot be expressed as its options.
        ModelError: the base brings code, or something else was trained.
        StageError: ms-swift failed, or training diverged.
    """
    job, samples = read_job(job_path)
    check_no_code(job.model_path)
    trackers = Trackers(job.work_path, job.resources.report_to, job.training.resolved())
    watch = StepListeners(trackers, CurveFile(curve_path_of(job_path)))
    checkpoints = Checkpoints(job.checkpoints_path, job.identity)  # holds the training's folder
    progress, checkpoint = _train(job, samples, job_path.parent, watch, say)
    ranks = Ranks(cpu=on_processor(job.resources))
    opened = open_checkpoint(checkpoint, job, ranks.device)
    _, val_samples = select_samples(samples, job.training)
    with open_reader(job, opened, ranks, val_samples, say) as reader:
        training = Training(
            settings=job.training,
            plan=job.plan,
            resources=job.resources,
            opened=opened,
            reader=reader,
            train_samples=(),
            val_samples=val_samples,
            checkpoints=checkpoints,
            ranks=ranks,
            say=say,
            watch=watch,
        )
        answers = _measure(training, progress)
    say(f"keeps the weights of step {progress.best_step} and writes the model")
    model_folder = job_path.parent / MODEL_FOLDER
    result = write_model(model_folder, job, opened, progress, trackers)
    _note_version(model_folder / "settings.json", version_of(checkpoint))
    write_result(result, progress.log, answers, job_path.parent)


def _train(
    job: TrainingJob,
    samples: Sequence[SampleRecord],
    folder: Path,
    watch: StepListener,
    say: Callable[[str], None],
) -> tuple[Progress, Path]:
    """Run ms-swift to its end; gives how far it came, and the checkpoint to keep."""
    source, output, rows = _source(job, samples), job.work_path / "swift", folder / "rows"
    rows.mkdir()
    write_source(rows, source, rows)
    command = command_for(
        source,
        folder=f"{rows}/",
        output=str(output),
        num_processes=num_processes(job.resources),
    )
    going_on = _go_on(output, source.num_steps, say)
    for line in differences(source):
        say(line)
    follower = Follower(output, job.training, source.num_steps, watch, say)
    program = find_swift(job.resources.swift_command)
    environment = {**swift_environment(), **command.environment}
    run_program([program, *command.arguments, *going_on], environment, follower.look)
    return follower.progress, follower.end()


def _go_on(output: Path, num_steps: int, say: Callable[[str], None]) -> list[str]:
    """Give the options by which ms-swift goes on from its last whole checkpoint, if it has one."""
    started = last_checkpoint(output)
    if started is None:
        shutil.rmtree(output, ignore_errors=True)
        return []
    say(f"continues after step {step_of(started)} of {num_steps}")
    drop_steps_after(output, step_of(started))
    return ["--resume_from_checkpoint", str(started)]


def _source(job: TrainingJob, samples: Sequence[SampleRecord]) -> TrainingSource:
    """Give what ms-swift trains on; trackers are told of its steps from here."""
    return TrainingSource(
        store=Store(job.store_url),
        samples=samples,
        plan=job.plan,
        settings=job.training,
        config=job.input,
        resources=job.resources.model_copy(update={"report_to": ()}),
        model=str(job.model_path),
    )


def _measure(training: Training, progress: Progress) -> list[ValidationPrediction]:
    """Put the kept weights' figures on the validation samples into their step's row."""
    if not training.val_samples:
        return []
    opened, kept = training.opened, progress.best_step - 1
    figures = evaluate(
        opened.trained,
        (batch for _, batch in training.val_batches()),
        token_yes=opened.token_yes,
        token_no=opened.token_no,
        ranks=training.ranks,
    )
    progress.log[kept] = replace(
        progress.log[kept],
        val_loss=figures.loss,
        val_macro_f1=figures.macro_f1,
        val_average_precision=figures.average_precision,
    )
    return predict_validation(training)


def _note_version(settings_path: Path, version: str | None) -> None:
    """Add to a model's settings which ms-swift trained it."""
    settings = {**json.loads(settings_path.read_bytes()), "ms_swift": version}
    text = json.dumps(settings, indent=2, sort_keys=True, ensure_ascii=False)
    settings_path.write_text(text, encoding="utf-8")
