"""Asking what is missing of an ablation's arms: one child process, one open model for all."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from storage.errors import WaverError
from storage.records import SampleRecord
from storage.schema import to_table, write_parquet
from storage.store import Store
from tasks.ablation.arms import ArmSamples
from tasks.ablation.job import AblationJob, ArmJob
from tasks.child import run_worker
from tasks.infer import InferConfig, InferResources, wanted_of
from tasks.log import LOGGER
from tasks.omni.checkpoint import stored_dtype
from tasks.omni.lengths import by_length, longest_request


def ask_missing(
    arms: Sequence[ArmSamples],
    store: Store,
    model_path: Path,
    config: InferConfig,
    resources: InferResources,
) -> int:
    """Ask about all segments that lack an answer in an arm; gives how many those were.

    No model is opened where nothing is missing.

    Raises:
        ModelError: the model cannot be opened.
        StageError: the engine failed; what was answered before is kept.
    """
    missing = {id(arm): len(arm.variant.pending(wanted_of(arm.samples))) for arm in arms}
    for arm in arms:
        LOGGER.info(
            "ablate: %s: %d wanted, %d missing", arm.arm.name, len(arm.samples), missing[id(arm)]
        )
    pending = [arm for arm in arms if missing[id(arm)]]
    if pending:
        with store.staging() as folder:
            job = _job_of(pending, store, model_path, config, resources, folder)
            _run_child(job, folder / "job.json", arms[0], store)
    return sum(missing.values())


def _job_of(
    arms: Sequence[ArmSamples],
    store: Store,
    model_path: Path,
    config: InferConfig,
    resources: InferResources,
    folder: Path,
) -> AblationJob:
    bounds = (longest_request(arm.samples, arm.arm.input_config, model_path) for arm in arms)
    return AblationJob(
        store_url=store.url,
        log_path=folder / "engine.log",
        model_path=model_path,
        dtype=stored_dtype(model_path) if config.dtype == "auto" else config.dtype,
        max_tokens=config.max_tokens or max(bounds),
        arms=tuple(
            _arm_job(arm, model_path, folder / f"arm-{number}.parquet")
            for number, arm in enumerate(arms)
        ),
        resources=resources,
    )


def _arm_job(arm: ArmSamples, model_path: Path, samples_path: Path) -> ArmJob:
    ordered = by_length(arm.samples, arm.arm.input_config, model_path)
    write_parquet(to_table(SampleRecord, ordered), samples_path)
    return ArmJob(
        name=arm.arm.name,
        stage=arm.variant.stage,
        variant_id=arm.variant.variant_id,
        samples_path=samples_path,
        input=arm.arm.input_config,
    )


def _run_child(job: AblationJob, job_path: Path, full: ArmSamples, store: Store) -> None:
    """Run the child to its end; the engine's log is kept only of one that failed."""
    job_path.write_text(job.model_dump_json(), encoding="utf-8")
    try:
        run_worker([sys.executable, "-m", "tasks.ablation.child", str(job_path)], on_line=_tell)
    except WaverError as error:
        if not job.log_path.is_file():
            raise
        kept = f"{full.variant.path}/logs/{time.strftime('%Y%m%dT%H%M%S')}-ablate.log"
        store.publish(job.log_path, kept)
        raise type(error)(f"{error} The engine's log: {store.full_path(kept)}") from error


def _tell(line: str) -> None:
    if not line.startswith("error: "):  # that one is raised
        LOGGER.info("ablate: %s", line)


ask_arms = task(name="ablate", task_run_name="ablate all arms", cache_policy=NO_CACHE)(ask_missing)
