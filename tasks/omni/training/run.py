"""One training job from its folder to its result: open, train, save."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from storage.records import SampleRecord
from storage.store import Store
from tasks.omni.training.answers import answer_validation
from tasks.omni.training.checkpoints import Checkpoints
from tasks.omni.training.data import RowReader
from tasks.omni.training.encoding import Encoder, encode_missing
from tasks.omni.training.features import FeatureFolder
from tasks.omni.training.job import (
    MODEL_FOLDER,
    TrainingJob,
    TrainingResult,
    curve_path_of,
    read_job,
    write_result,
)
from tasks.omni.training.loop import Training, train
from tasks.omni.training.model import OpenModel, census, num_parameters, open_for_training
from tasks.omni.training.ranks import Ranks
from tasks.omni.training.save import save_facts, save_model, settings_of
from tasks.omni.training.selection import select_samples
from tasks.omni.training.towers import are_frozen, take_features
from tasks.omni.training.tracking import CurveFile, Trackers, Watches


def run_job(job_path: Path, say: Callable[[str], None]) -> None:
    """Train the job's model, alone or with other processes; the first writes the result.

    Raises:
        ModelError: the base model cannot be opened.
        StageError: media are gone, or training diverged.
        StoreError: no space is left.
    """
    job, samples = read_job(job_path)
    ranks = Ranks(cpu=job.resources.device == "cpu")
    say = say if ranks.is_first else _silent
    opened = open_for_training(job.model_path, job.training, job.resources, ranks.device)
    counts, total = census(opened.trained), num_parameters(opened.trained)
    say(_tell_census(counts, total, job.training.method))
    train_samples, val_samples = select_samples(samples, job.training)
    say(f"{len(train_samples)} training and {len(val_samples)} validation samples")
    reader = _reader(job, opened, ranks, [*train_samples, *val_samples], say)
    trackers = Trackers(job.work_path, job.resources.report_to, job.training.model_dump())
    watches = (trackers, CurveFile(curve_path_of(job_path)))
    training = Training(
        settings=job.training,
        plan=job.plan,
        resources=job.resources,
        opened=opened,
        reader=reader,
        train_samples=train_samples,
        val_samples=val_samples,
        checkpoints=Checkpoints(job.checkpoints_path, job.identity, to_read=not ranks.is_first),
        ranks=ranks,
        say=say,
        watch=Watches(*watches if ranks.is_first else ()),
    )
    progress = train(training)
    if not ranks.is_first:
        return
    answers = answer_validation(training)
    if reader.num_unreadable:
        say(f"{reader.num_unreadable} samples could not be read and were left out")
    say(f"keeps the weights of step {progress.best_step} and writes the model")
    folder = job_path.parent / MODEL_FOLDER
    folder.mkdir()
    save_model(opened, job, folder)
    save_facts(counts, settings_of(job), folder)
    trackers.keep_events(folder)
    result = TrainingResult(
        num_steps=progress.step,
        best_step=progress.best_step,
        trained=counts,
        num_parameters=total,
    )
    write_result(result, progress.log, answers, job_path.parent)


def _silent(_line: str) -> None:
    """What all processes do alike is told by one."""


def _reader(
    job: TrainingJob,
    opened: OpenModel,
    ranks: Ranks,
    samples: Sequence[SampleRecord],
    say: Callable[[str], None],
) -> RowReader:
    """Choose between reading features, where towers are frozen and the disk has room, and media."""

    def reader(keep_bytes: int, features: FeatureFolder | None) -> RowReader:
        return RowReader(
            Store(job.store_url),
            opened.processor,
            job.input,
            num_samples=len(samples),
            num_threads=job.resources.decode_threads,
            keep_bytes=keep_bytes,
            features=features,
        )

    keep_bytes, features_path = job.resources.keep_mib << 20, job.features_path
    if features_path is None or not are_frozen(opened.top.thinker):
        return reader(keep_bytes, None)
    features = FeatureFolder(features_path)
    encoder = Encoder(
        thinker=opened.top.thinker,
        pad_token_id=opened.processor.tokenizer.pad_token_id,
        config=job.input,
        folder=features_path,
        features=features,
        dtype=getattr(torch, job.training.precision),
        device=ranks.device,
        batch_size=job.resources.micro_batch_size,
        say=say,
    )
    has_room = encode_missing(encoder, reader(0, None), ranks.share(samples))
    if not all(ranks.gather(has_room)):
        return reader(keep_bytes, None)
    take_features(opened.top.thinker)
    return reader(keep_bytes, FeatureFolder(features_path))  # with what the other ranks made


def _tell_census(counts: Mapping[str, int], num_all: int, method: str) -> str:
    """Say how much of which parts is trained."""
    parts = ", ".join(f"{part} {count:,}" for part, count in sorted(counts.items()))
    whole = sum(counts.values())
    share = f"{whole:,} parameters, {whole / num_all:.2%} of the model's {num_all:,}"
    return f"{method} trains {share}: {parts}"
