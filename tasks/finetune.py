"""Stage 4, finetune: labeled train and val samples in, a fine-tuned Qwen3-Omni out.

In: samples, the class plan, and a base model. Out: one item per seed: its `ModelRecord`, the
training log as `TrainingStepRecord` rows, its participants as `TrainedOnRecord` rows, and in the
store's files the adapter (peft format, LoRA only) and the full model (Hugging Face format, for
transformers and vLLM). A child process trains, itself or with ms-swift; after a kill the next run
resumes from its last checkpoint.
"""

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect import State, task
from prefect.cache_policies import NO_CACHE
from pydantic import Field, NonNegativeInt, field_validator

from storage.datasets.erased import digest_of_participant, salt_of
from storage.fingerprint import digest_of
from storage.identity import participant_key
from storage.records import SampleRecord
from storage.results import ModelRecord, TrainedOnRecord, TrainingStepRecord
from storage.schema import to_plain
from storage.store.store import Store
from storage.store.variant import ItemOutput, Variant, open_variant
from tasks.labels.class_plan import Plan
from tasks.model.model_folder import check_model, fingerprint_of
from tasks.ms_swift.program import find_swift
from tasks.prompting.model_input import InputConfig
from tasks.prompting.prompt import prompt_digest
from tasks.stage import Shard, as_state, compute_missing
from tasks.training.job import (
    ADAPTER_FOLDER,
    MERGED_FOLDER,
    MODEL_FOLDER,
    SampleSource,
    TrainingJob,
    TrainingResult,
    read_result,
    read_validation_predictions,
    write_job,
)
from tasks.training.paths import features_path_of, work_path_of
from tasks.training.process import run_training
from tasks.training.selection import check_samples, digest_samples, select_samples
from tasks.training.settings import FinetuneResources as FinetuneResources
from tasks.training.settings import TrainingSettings
from tasks.training.tracking.curve_artifact import CurveArtifact
from tasks.training.tracking.model_card import write_card
from tasks.training.tracking.trackers import check_trackers

STAGE = "finetune"
VERSION = 5
_GIB = 1 << 30
_UNKNOWN_SOURCE = SampleSource()


class FinetuneConfig(TrainingSettings):
    """Settings that determine a fine-tuned model, besides its input settings and samples."""

    model: str = Field(default="Qwen/Qwen3-Omni-30B-A3B-Instruct", min_length=1)
    """The base model: a Hugging Face folder, or a name on the hub."""
    seeds: tuple[NonNegativeInt, ...] | None = Field(default=None, min_length=1)
    """Train one model with each of these seeds; by default a single one, with `seed`. Inference
    uses the best on validation by `metric`, without validation that of the first seed."""
    merge: bool = True
    """Save the merged model besides a LoRA adapter; otherwise it is merged when inference first
    needs it."""
    max_shard_gib: float = Field(default=5.0, gt=0)
    """Maximum size of a file of saved weights."""

    @field_validator("seeds")
    @classmethod
    def _check_unique(cls, seeds: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if seeds is not None and len(set(seeds)) < len(seeds):
            raise ValueError("each seed may be listed once")
        return seeds

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """The seeds of the models to train, one each."""
        return self.seeds or (self.seed,)

    @property
    def max_shard_bytes(self) -> int:
        """The maximum size of a file of weights in bytes."""
        return round(self.max_shard_gib * _GIB)

    def training_of(self, seed: int) -> TrainingSettings:
        """Return the settings that determine one model's weights, given its base."""
        named = {name: getattr(self, name) for name in TrainingSettings.model_fields}
        return TrainingSettings(**{**named, "seed": seed})


def item_of(seed: int) -> str:
    """Return the item name of a seed's model."""
    return f"seed {seed}"


def variant_of(
    store: Store, config: FinetuneConfig, input_config: InputConfig, *, base_fingerprint: str
) -> Variant:
    """Open the variant that these settings make of a base (`model_folder.fingerprint_of`)."""
    settings = {
        "training": _identifying_settings(config.training_of(config.seed)),
        "input": input_config.model_dump(),
        "prompt": prompt_digest(input_config.prompt),
        "base": base_fingerprint,
    }
    return open_variant(store, STAGE, version=VERSION, settings=settings)


def _identifying_settings(training: TrainingSettings) -> dict[str, Any]:
    """Return the settings that identify a variant; the trainer only if it is not Waver."""
    own = {"trainer"} if training.trainer == "waver" else set()
    return training.model_dump(exclude={"seed", *own})


def expected_items(
    samples: Sequence[SampleRecord], plan: Plan, config: FinetuneConfig
) -> dict[str, str]:
    """Return each seed's item name with the digest of its training and validation samples."""
    digest = digest_samples(samples, config, plan)
    return {item_of(seed): digest for seed in config.all_seeds}


def best_seed(models: Mapping[int, ModelRecord], config: FinetuneConfig) -> int:
    """Return the seed of the best model by the validation metric, ties broken by the loss.

    Without validation, return the first seed.
    """

    def score(seed: int) -> tuple[float, float]:
        loss = -(models[seed].val_loss or 0.0)
        value = getattr(models[seed], f"val_{config.metric}")
        return loss if config.metric == "loss" else value, loss

    return max(config.all_seeds, key=score) if config.validation else config.all_seeds[0]


def train_model(
    seed: int,
    samples: Sequence[SampleRecord],
    plan: Plan,
    config: FinetuneConfig,
    input_config: InputConfig,
    resources: FinetuneResources,
    variant: Variant,
    folder: Path,
    source: SampleSource = _UNKNOWN_SOURCE,
) -> ItemOutput:
    """Train in a child process, in the empty ``folder``, and return the model with its log.

    ``source`` is recorded in the model's settings and card.

    Raises:
        StageError: the samples cannot be trained on, or training failed.
        ToolError: a requested tracker or ms-swift is not installed.
        ModelError: the base model is invalid or unavailable.
    """
    check_samples(samples, config)
    check_trackers(resources.report_to)
    if config.trainer == "ms-swift":
        find_swift(resources.swift_command)
    used = [sample for rows in select_samples(samples, config) for sample in rows]
    digest = digest_samples(samples, config, plan)
    job = _job_of(seed, digest, plan, config, input_config, resources, variant, source)
    run_training(write_job(job, used, folder), job, variant, CurveArtifact(item_of(seed)))
    result, log = read_result(folder)
    write_card(folder / MODEL_FOLDER, job, result, used, read_validation_predictions(folder))
    stored_folder = variant.file_path(folder_name(digest, seed, log))
    participants = trained_on(used, salt_of(variant.store))
    return ItemOutput(
        item_id=item_of(seed),
        rows=(_model_record(job, used, result, log, stored_folder), *participants, *log),
        files=_files_to_store(folder / MODEL_FOLDER, stored_folder),
    )


def folder_name(digest: str, seed: int, log: Sequence[TrainingStepRecord]) -> str:
    """Return the name of a trained model's folder, which no other training has.

    A forced training of the same samples must not overwrite a model that an engine may be reading:
    the durations of its steps make the name unique. After a kill the same training has it again.
    """
    return f"{digest[:12]}-seed-{seed}-{digest_of([to_plain(step) for step in log])[:8]}"


def _job_of(
    seed: int,
    digest: str,
    plan: Plan,
    config: FinetuneConfig,
    input_config: InputConfig,
    resources: FinetuneResources,
    variant: Variant,
    source: SampleSource,
) -> TrainingJob:
    """Return the job of a seed; ``digest`` is that of its samples."""
    model_path, training = check_model(config.model), config.training_of(seed)
    return TrainingJob(
        identity=digest_of(variant.variant_id, digest, seed),
        store_url=variant.store.url,
        model_path=model_path,
        base_name=config.model,
        base_fingerprint=fingerprint_of(model_path),
        source_path=source.path,
        max_words_before=source.max_words_before,
        input=input_config,
        training=training,
        merge=config.merge or training.method == "full",
        max_shard_bytes=config.max_shard_bytes,
        plan=tuple(plan),
        resources=resources,
        work_path=work_path_of(variant, digest, seed, resources),
        features_path=features_path_of(variant, model_path, training, resources),
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
        base_fingerprint=job.base_fingerprint,
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
    """Return the participants whose samples a model saw, to find it when one of them is erased."""
    counts = Counter(
        (participant_key(sample.participant_id), sample.split or "")
        for sample in used
        if sample.participant_id is not None
    )
    return [
        TrainedOnRecord(
            participant_digest=digest_of_participant(salt, key),
            split=split,
            num_samples=count,
        )
        for (key, split), count in sorted(counts.items())
    ]


def _files_to_store(folder: Path, stored_folder: str) -> dict[str, Path]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {f"{stored_folder}/{path.relative_to(folder).as_posix()}": path for path in paths}


@task(name="finetune", task_run_name="finetune model {shard.name}", cache_policy=NO_CACHE)
def finetune_models(
    shard: Shard,
    samples: Sequence[SampleRecord],
    plan: Plan,
    config: FinetuneConfig,
    input_config: InputConfig,
    resources: FinetuneResources,
    variant: Variant,
    source: SampleSource = _UNKNOWN_SOURCE,
) -> State:
    """Train a shard's missing models; checkpoints are removed when a model is in the store."""
    seeds = {item_of(seed): seed for seed in config.all_seeds}
    digest = digest_samples(samples, config, plan)
    with variant.store.staging() as folder:

        def compute(items: Sequence[str]) -> Iterator[ItemOutput]:
            for seed in (seeds[item] for item in items):
                job_folder = folder / str(seed)
                job_folder.mkdir()
                yield train_model(
                    seed, samples, plan, config, input_config, resources, variant, job_folder,
                    source,
                )  # fmt: skip

        result = compute_missing(variant, shard, compute, commit_seconds=0)
    for item in shard.expected:
        work_path = work_path_of(variant, digest, seeds[item], resources)
        shutil.rmtree(work_path, ignore_errors=True)
    return as_state(result)
