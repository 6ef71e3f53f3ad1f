"""One training job from its folder to its result: open, train, save."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from storage.records import SampleRecord
from tasks.model.available_memory import check_disk, check_host, free_bytes, host_bytes
from tasks.prompting.request_length import longest_request
from tasks.training.checkpoints.checkpoints import Checkpoints, Progress
from tasks.training.checkpoints.save import save_facts, save_model, settings_of
from tasks.training.data.batches import Training
from tasks.training.data.reading import open_reader
from tasks.training.distributed.fsdp import check_sharding, gather_model, is_sharded
from tasks.training.distributed.launch import on_processor
from tasks.training.distributed.ranks import Ranks
from tasks.training.job import (
    MODEL_FOLDER,
    TrainingJob,
    TrainingResult,
    curve_path_of,
    read_job,
    write_result,
)
from tasks.training.loop import train
from tasks.training.model.memory import check_memory, read_shapes
from tasks.training.model.trainable import (
    OpenModel,
    num_parameters,
    open_for_training,
    token_counts,
)
from tasks.training.selection import select_samples
from tasks.training.tracking.trackers import CurveFile, StepListeners, Trackers
from tasks.training.validation import predict_validation


def run_job(job_path: Path, say: Callable[[str], None]) -> None:
    """Train the job's model, alone or with other processes; the first writes the result.

    Raises:
        ModelError: the base model cannot be opened.
        StageError: memory or disk does not suffice, media are gone, or training diverged.
        StoreError: no space is left.
    """
    job, samples = read_job(job_path)
    ranks = Ranks(cpu=on_processor(job.resources))
    say = say if ranks.is_first else _silent
    if job.merge:
        check_disk(job.model_path, job_path.parent)
    opened = _open(job, samples, ranks, say)
    train_samples, val_samples = select_samples(samples, job.training)
    say(f"{len(train_samples)} training and {len(val_samples)} validation samples")
    trackers = Trackers(job.work_path, job.resources.report_to, job.training.resolved())
    watches = (trackers, CurveFile(curve_path_of(job_path)))
    with open_reader(job, opened, ranks, [*train_samples, *val_samples], say) as reader:
        training = Training(
            settings=job.training,
            plan=job.plan,
            resources=job.resources,
            opened=opened,
            reader=reader,
            train_samples=train_samples,
            val_samples=val_samples,
            checkpoints=_checkpoints(job, ranks),
            ranks=ranks,
            say=say,
            watch=StepListeners(*watches if ranks.is_first else ()),
        )
        progress = train(training)
        answers = predict_validation(training)
    saved = _whole(opened, job, ranks)
    if saved is None:
        return
    if num_unreadable := len(reader.unreadable):
        say(f"{num_unreadable} samples could not be read and were left out")
    say(f"keeps the weights of step {progress.best_step} and writes the model")
    result = write_model(job_path.parent / MODEL_FOLDER, job, saved, progress, trackers)
    write_result(result, progress.log, answers, job_path.parent)


def write_model(
    folder: Path, job: TrainingJob, opened: OpenModel, progress: Progress, trackers: Trackers
) -> TrainingResult:
    """Write the model with what tells of it; adapters are counted before they are merged."""
    counts, total = token_counts(opened.trained), num_parameters(opened.trained)
    folder.mkdir()
    save_model(opened, job, folder)
    save_facts(counts, settings_of(job), folder)
    trackers.keep_events(folder)
    return TrainingResult(
        num_steps=progress.step,
        best_step=progress.best_step,
        trained=counts,
        num_parameters=total,
    )


def _whole(opened: OpenModel, job: TrainingJob, ranks: Ranks) -> OpenModel | None:
    """Give the first process the whole model, which it may have held a part of."""
    if is_sharded(job.resources, ranks):
        dtype = getattr(torch, job.training.precision)
        top = gather_model(opened.top, dtype, ranks)
        return replace(opened, top=top) if ranks.is_first else None
    return opened if ranks.is_first else None


def _silent(_line: str) -> None:
    """What all processes do alike is told by one."""


def _open(
    job: TrainingJob, samples: Sequence[SampleRecord], ranks: Ranks, say: Callable[[str], None]
) -> OpenModel:
    """Open the base if memory suffices, and say what of it is trained."""
    check_sharding(job.training, job.resources)
    need = check_memory(
        read_shapes(job.model_path),
        job.training,
        job.resources,
        longest=longest_request(samples, job.input, job.model_path),
        free=free_bytes(ranks.device, ranks.count),
        num_processes=ranks.count,
    )
    if is_sharded(job.resources, ranks) and ranks.is_first:
        taken = need.total * ranks.count if ranks.device.type == "cpu" else 0
        check_host(job.model_path, free=host_bytes() - taken)
    opened = open_for_training(job.model_path, job.training, job.resources, ranks.device, ranks)
    trained = opened.trained
    say(_report_token_counts(token_counts(trained), num_parameters(trained), job.training.method))
    say(f"needs about {need} in each of {ranks.count} processes")
    return opened


def _checkpoints(job: TrainingJob, ranks: Ranks) -> Checkpoints:
    return Checkpoints(
        job.checkpoints_path,
        job.identity,
        num_kept=job.resources.keep_checkpoints,
        to_read=not ranks.is_first,
        ranks=ranks if is_sharded(job.resources, ranks) else None,
    )


def _report_token_counts(counts: Mapping[str, int], num_all: int, method: str) -> str:
    """Say how much of which parts is trained."""
    parts = ", ".join(f"{part} {count:,}" for part, count in sorted(counts.items()))
    whole = sum(counts.values())
    share = f"{whole:,} parameters, {whole / num_all:.2%} of the model's {num_all:,}"
    return f"{method} trains {share}: {parts}"
