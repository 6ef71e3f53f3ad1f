"""One training job from its folder to its result: open the model, train, save."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from storage.records import SampleRecord
from tasks.model.available_memory import check_disk, check_host, free_bytes, host_bytes
from tasks.prompting.request_length import longest_request
from tasks.training.checkpoints.checkpoints import Checkpoints, Progress
from tasks.training.checkpoints.save import model_settings, save_model, save_settings
from tasks.training.context import TrainingContext
from tasks.training.data.reading import open_reader
from tasks.training.distributed.fsdp import check_sharding, gather_model, is_sharded
from tasks.training.distributed.launch import uses_cpu
from tasks.training.distributed.ranks import Ranks
from tasks.training.evaluate import predict_validation
from tasks.training.job import (
    MODEL_FOLDER,
    TrainingJob,
    TrainingResult,
    curve_path_of,
    read_job,
    write_result,
)
from tasks.training.loop import train
from tasks.training.model.memory import check_memory, read_model_sizes
from tasks.training.model.trainable import (
    OpenModel,
    count_parameters,
    count_trained,
    open_for_training,
)
from tasks.training.selection import select_samples
from tasks.training.tracking.callbacks import CallbackList, CurveFile
from tasks.training.tracking.trackers import Trackers


def run_job(job_path: Path, report: Callable[[str], None]) -> None:
    """Train the job's model, alone or with other processes; the main process writes the result.

    Raises:
        ModelError: the base model cannot be opened.
        StageError: not enough memory or disk, missing media, or training diverged.
        StoreError: no space is left.
    """
    job, samples = read_job(job_path)
    ranks = Ranks(cpu=uses_cpu(job.resources))
    report = report if ranks.is_main else _discard
    if job.merge:
        check_disk(job.model_path, job_path.parent)
    opened = _open(job, samples, ranks, report)
    train_samples, val_samples = select_samples(samples, job.training)
    report(f"{len(train_samples)} training and {len(val_samples)} validation samples")
    trackers = Trackers(job.work_path, job.resources.report_to, job.training.resolved())
    callbacks = (trackers, CurveFile(curve_path_of(job_path)))
    with open_reader(job, opened, ranks, [*train_samples, *val_samples], report) as reader:
        context = TrainingContext(
            settings=job.training,
            plan=job.plan,
            resources=job.resources,
            opened=opened,
            reader=reader,
            train_samples=train_samples,
            val_samples=val_samples,
            checkpoints=_checkpoints(job, ranks),
            ranks=ranks,
            report=report,
            callback=CallbackList(*callbacks if ranks.is_main else ()),
        )
        progress = train(context)
        predictions = predict_validation(context)
    full = _full_model(opened, job, ranks)
    if full is None:
        return
    _report_end(len(reader.unreadable), progress, report)
    result = write_model(job_path.parent / MODEL_FOLDER, job, full, progress, trackers)
    write_result(result, progress.log, predictions, job_path.parent)


def _report_end(num_unreadable: int, progress: Progress, report: Callable[[str], None]) -> None:
    if num_unreadable:
        report(f"skipped {num_unreadable} unreadable samples")
    report(f"saving the model with the weights of step {progress.best_step}")


def write_model(
    folder: Path, job: TrainingJob, opened: OpenModel, progress: Progress, trackers: Trackers
) -> TrainingResult:
    """Write the model with its settings and event files."""
    # Counted before adapters are merged.
    trained, total = count_trained(opened.trained), count_parameters(opened.trained)
    folder.mkdir()
    save_model(opened, job, folder)
    save_settings(trained, model_settings(job), folder)
    trackers.copy_events(folder)
    return TrainingResult(
        num_steps=progress.step,
        best_step=progress.best_step,
        trained=trained,
        num_parameters=total,
    )


def _full_model(opened: OpenModel, job: TrainingJob, ranks: Ranks) -> OpenModel | None:
    """Return the model in the main process, gathered if it is sharded; ``None`` in others."""
    if is_sharded(job.resources, ranks):
        dtype = getattr(torch, job.training.precision)
        top = gather_model(opened.top, dtype, ranks)
        return replace(opened, top=top) if ranks.is_main else None
    return opened if ranks.is_main else None


def _discard(_line: str) -> None:
    """Report nothing: the main process reports for all."""


def _open(
    job: TrainingJob, samples: Sequence[SampleRecord], ranks: Ranks, report: Callable[[str], None]
) -> OpenModel:
    """Open the base model if memory suffices, and report which parameters are trained."""
    check_sharding(job.training, job.resources)
    needed = check_memory(
        read_model_sizes(job.model_path),
        job.training,
        job.resources,
        longest=longest_request(samples, job.input, job.model_path),
        free=free_bytes(ranks.device, ranks.count),
        num_processes=ranks.count,
    )
    if is_sharded(job.resources, ranks) and ranks.is_main:
        taken = needed.total * ranks.count if ranks.device.type == "cpu" else 0
        check_host(job.model_path, free=host_bytes() - taken)
    opened = open_for_training(job.model_path, job.training, job.resources, ranks.device, ranks)
    trained = count_trained(opened.trained)
    report(_describe_trained(trained, count_parameters(opened.trained), job.training.method))
    report(f"estimated memory of each of {ranks.count} processes: {needed}")
    return opened


def _checkpoints(job: TrainingJob, ranks: Ranks) -> Checkpoints:
    return Checkpoints(
        job.checkpoints_path,
        job.identity,
        num_kept=job.resources.keep_checkpoints,
        read_only=not ranks.is_main,
        ranks=ranks if is_sharded(job.resources, ranks) else None,
    )


def _describe_trained(counts: Mapping[str, int], total: int, method: str) -> str:
    parts = ", ".join(f"{part} {count:,}" for part, count in sorted(counts.items()))
    trained = sum(counts.values())
    return f"{method} trains {trained:,} of {total:,} parameters ({trained / total:.2%}): {parts}"
