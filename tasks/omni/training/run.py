"""One training job from its folder to its result: open, train, save."""

from collections.abc import Callable, Mapping
from pathlib import Path

from storage.store import Store
from tasks.omni.training.checkpoints import Checkpoints
from tasks.omni.training.data import RowReader
from tasks.omni.training.job import MODEL_FOLDER, TrainingResult, read_job, write_result
from tasks.omni.training.loop import Training, train
from tasks.omni.training.model import census, num_parameters, open_for_training
from tasks.omni.training.save import save_facts, save_model
from tasks.omni.training.selection import select_samples


def run_job(job_path: Path, say: Callable[[str], None]) -> None:
    """Train the job's model and write its result beside the job.

    Raises:
        ModelError: the base model cannot be opened.
        StageError: media are gone, or training diverged.
        StoreError: no space is left.
    """
    job, samples = read_job(job_path)
    opened = open_for_training(job.model_path, job.training)
    counts, total = census(opened.trained), num_parameters(opened.trained)
    say(_tell_census(counts, total, job.training.method))
    train_samples, val_samples = select_samples(samples, job.training)
    say(f"{len(train_samples)} training and {len(val_samples)} validation samples")
    reader = RowReader(
        Store(job.store_url),
        opened.processor,
        job.input,
        num_samples=len(samples),
        num_threads=job.resources.decode_threads,
        keep_bytes=job.resources.keep_mib << 20,
    )
    progress = train(
        Training(
            settings=job.training,
            plan=job.plan,
            resources=job.resources,
            opened=opened,
            reader=reader,
            train_samples=train_samples,
            val_samples=val_samples,
            checkpoints=Checkpoints(job.work_path, job.identity),
            say=say,
        )
    )
    say(f"keeps the weights of step {progress.best_step} and writes the model")
    folder = job_path.parent / MODEL_FOLDER
    folder.mkdir()
    save_model(opened, job.training, folder)
    facts = job.model_dump(mode="json", include={"training", "plan", "input"})
    save_facts(counts, facts, folder)
    result = TrainingResult(
        num_steps=progress.step,
        best_step=progress.best_step,
        trained=counts,
        num_parameters=total,
    )
    write_result(result, progress.log, job_path.parent)


def _tell_census(counts: Mapping[str, int], num_all: int, method: str) -> str:
    """Say how much of which parts is trained."""
    parts = ", ".join(f"{part} {count:,}" for part, count in sorted(counts.items()))
    whole = sum(counts.values())
    share = f"{whole:,} parameters, {whole / num_all:.2%} of the model's {num_all:,}"
    return f"{method} trains {share}: {parts}"
