"""Stage 4, finetune: labelled train and val samples in, a fine-tuned Qwen3-Omni out.

In: samples, the plan of what each class counts, and a base model. Out: one item, `model`: its
`ModelRecord`, the training log as `TrainingStepRecord` rows, whom it was trained on as
`TrainedOnRecord` rows, and in the store's files the adapter (peft format, LoRA only) and the whole
model (Hugging Face format, for transformers and vLLM). One child process trains, under accelerate's
launcher; what it has reached when it is killed is where the next run begins.
"""

import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from prefect import State, task
from prefect.cache_policies import NO_CACHE
from pydantic import Field

from storage.annotation_cache import cache_folder
from storage.errors import WaverError
from storage.fingerprint import digest_of
from storage.forgotten import digest_of_participant, salt_of
from storage.records import SampleRecord
from storage.results import ModelRecord, TrainedOnRecord, TrainingStepRecord
from storage.store import Store
from storage.variant import ItemOutput, Variant
from tasks.child import run_worker
from tasks.labels.plan import Plan
from tasks.log import LOGGER
from tasks.omni.checkpoint import check_model, fingerprint_of
from tasks.omni.inputs import InputConfig
from tasks.omni.prompt import prompt_digest
from tasks.omni.training.job import (
    ADAPTER_FOLDER,
    LOG_NAME,
    MERGED_FOLDER,
    MODEL_FOLDER,
    TrainingJob,
    TrainingResult,
    read_result,
    write_job,
)
from tasks.omni.training.launch import launch_command
from tasks.omni.training.selection import check_samples, digest_samples, select_samples
from tasks.omni.training.settings import FinetuneResources as FinetuneResources
from tasks.omni.training.settings import TrainingSettings
from tasks.stage import Shard, as_state, make_missing

STAGE = "finetune"
VERSION = 3
ITEM = "model"
_ENVIRONMENT = {
    "PYTHONSAFEPATH": "1",  # no folder of the user's is taken for a package
    "TOKENIZERS_PARALLELISM": "false",
}


class FinetuneConfig(TrainingSettings):
    """What decides a fine-tuned model, beside its input and samples."""

    model: str = Field(default="Qwen/Qwen3-Omni-30B-A3B-Instruct", min_length=1)
    """The base model: a Hugging Face folder, or a name on the hub."""

    @property
    def training(self) -> TrainingSettings:
        """The settings without the base model's place, which decides nothing."""
        return TrainingSettings(**self.model_dump(exclude={"model"}))


def variant_of(
    store: Store, config: FinetuneConfig, input_config: InputConfig, *, base_fingerprint: str
) -> Variant:
    """Open the variant that these settings make of a base (`checkpoint.fingerprint_of`)."""
    settings = {
        "training": config.training.model_dump(),
        "input": input_config.model_dump(),
        "prompt": prompt_digest(input_config.prompt),
        "base": base_fingerprint,
    }
    return store.variant(STAGE, version=VERSION, settings=settings)


def wanted_of(
    samples: Sequence[SampleRecord], plan: Plan, config: FinetuneConfig
) -> dict[str, str]:
    """Name the model with the digest of all rows that it learns from or is chosen on."""
    return {ITEM: digest_samples(samples, config, plan)}


def train_model(
    samples: Sequence[SampleRecord],
    plan: Plan,
    config: FinetuneConfig,
    input_config: InputConfig,
    resources: FinetuneResources,
    variant: Variant,
    folder: Path,
) -> Iterator[ItemOutput]:
    """Train in one child process, in the empty ``folder``, and give the model with its log.

    Raises:
        StageError: nothing can be learnt from these samples, or training failed.
        ModelError: the base model is none, or cannot be had.
    """
    check_samples(samples, config)
    used = [sample for rows in select_samples(samples, config) for sample in rows]
    digest = digest_samples(samples, config, plan)
    job = TrainingJob(
        identity=digest_of(variant.variant_id, digest),
        store_url=variant.store.url,
        model_path=check_model(config.model),
        input=input_config,
        training=config.training,
        plan=tuple(plan),
        resources=resources,
        work_path=work_path_of(variant, digest, resources),
        features_path=features_path_of(variant, config, resources),
    )
    _run_child(write_job(job, used, folder), resources, variant)
    result, log = read_result(folder)
    salt = salt_of(variant.store)
    stored_folder = variant.file_path(digest[:12])
    yield ItemOutput(
        item_id=ITEM,
        rows=(_model_record(job, used, result, log, stored_folder), *trained_on(used, salt), *log),
        files=_files_to_store(folder / MODEL_FOLDER, stored_folder),
    )


def _model_record(
    job: TrainingJob,
    used: Sequence[SampleRecord],
    result: TrainingResult,
    log: Sequence[TrainingStepRecord],
    stored_folder: str,
) -> ModelRecord:
    best = log[result.best_step - 1]
    has_adapter = job.training.method == "lora"
    return ModelRecord(
        model_path=f"{stored_folder}/{MERGED_FOLDER}",
        adapter_path=f"{stored_folder}/{ADAPTER_FOLDER}" if has_adapter else None,
        method=job.training.method,
        base_fingerprint=fingerprint_of(job.model_path),
        num_train_samples=sum(sample.in_training for sample in used),
        num_val_samples=sum(not sample.in_training for sample in used),
        num_parameters=result.num_parameters,
        num_trained=sum(result.trained.values()),
        num_steps=result.num_steps,
        best_step=result.best_step,
        val_loss=best.val_loss,
        val_macro_f1=best.val_macro_f1,
        val_average_precision=best.val_average_precision,
    )


def trained_on(used: Sequence[SampleRecord], salt: str) -> list[TrainedOnRecord]:
    """List whose samples a model saw, so that it is found when one of them is forgotten."""
    counts = Counter(
        (sample.participant_id, sample.split or "")
        for sample in used
        if sample.participant_id is not None
    )
    return [
        TrainedOnRecord(
            participant_digest=digest_of_participant(salt, who), split=split, num_samples=count
        )
        for (who, split), count in sorted(counts.items())
    ]


def work_path_of(variant: Variant, used: str, resources: FinetuneResources) -> Path:
    """Say where checkpoints of a training lie until its model is in the store."""
    if resources.checkpoint_folder is not None:
        return Path(resources.checkpoint_folder) / variant.variant_id / used[:12]
    if variant.store.is_local:
        return Path(variant.store.full_path(f"{variant.path}/work/{used[:12]}"))
    return _user_cache() / STAGE / variant.variant_id / used[:12]


def features_path_of(
    variant: Variant, config: FinetuneConfig, resources: FinetuneResources
) -> Path | None:
    """Say where features of a base's frozen towers are kept, for all trainings that start from it.

    ``None`` where none shall be kept.
    """
    if not resources.store_features:
        return None
    name = f"{fingerprint_of(check_model(config.model))[:16]}-{config.precision}"
    if resources.feature_folder is not None:
        return Path(resources.feature_folder) / name
    if variant.store.is_local:
        return Path(variant.store.full_path(f"{cache_folder()}/features/{name}"))
    return _user_cache() / "features" / name


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "waver"


def _run_child(job_path: Path, resources: FinetuneResources, variant: Variant) -> None:
    """Run the child to its end; the libraries' log is kept only of one that failed."""
    command = launch_command(job_path, resources)
    log_path = job_path.parent / LOG_NAME
    try:
        run_worker(command, on_line=_show, environment=_ENVIRONMENT)
    except WaverError as error:
        if not log_path.is_file():
            raise
        kept = f"{variant.path}/logs/{time.strftime('%Y%m%dT%H%M%S')}.log"
        variant.store.publish(log_path, kept)
        raise type(error)(f"{error} The libraries' log: {variant.store.full_path(kept)}") from error


def _show(line: str) -> None:
    """Hand a line of the child on to the run's log."""
    if not line.startswith("error: "):  # that one is raised
        LOGGER.info("%s: %s", STAGE, line)


def _files_to_store(folder: Path, stored_folder: str) -> dict[str, Path]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {f"{stored_folder}/{path.relative_to(folder).as_posix()}": path for path in paths}


@task(name="finetune", task_run_name="finetune model", cache_policy=NO_CACHE)
def finetune_model(
    shard: Shard,
    samples: Sequence[SampleRecord],
    plan: Plan,
    config: FinetuneConfig,
    input_config: InputConfig,
    resources: FinetuneResources,
    variant: Variant,
) -> State:
    """Train the model if it is missing; its checkpoints go when it is in the store."""
    with variant.store.staging() as folder:
        result = make_missing(
            variant,
            shard,
            lambda _: train_model(samples, plan, config, input_config, resources, variant, folder),
        )
    used = digest_samples(samples, config, plan)
    shutil.rmtree(work_path_of(variant, used, resources), ignore_errors=True)
    return as_state(result)
