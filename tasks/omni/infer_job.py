"""One child process an engine: what it is told, and what its parent does until all have ended."""

import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from storage.errors import CrashError, WaverError
from storage.variant import Variant
from tasks.child import run_worker
from tasks.omni.engine_settings import EngineResources
from tasks.omni.inputs import InputConfig
from tasks.omni.isolation import Crash, in_flight

CHILD_MODULE = "tasks.omni.infer_child"
_GPU_DRIVER = Path("/proc/driver/nvidia/version")


class InferResources(EngineResources):
    """What changes only how fast predictions are made."""

    num_engines: int | None = Field(default=None, ge=1, le=64)
    """Engines at work side by side; by default one for every `num_gpus` GPUs that are there."""
    num_decoders: int | None = Field(default=None, ge=0, le=256)
    """Processes of each engine that decode and prepare segments ahead of it; by default one a core,
    less the engine's; none for few segments. With 0 a thread of the engine's process does it."""
    commit_seconds: float = Field(default=10.0, ge=0)
    """Results are committed this often; a kill loses no more than this."""


class InferJob(BaseModel):
    """All that a child process has to know; written as JSON beside the samples.

    ``samples_path`` holds the samples in the order in which they are asked about. ``suspects`` are
    asked about first and one at a time, each by the engine that lists it in ``alone``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    store_url: str
    variant_id: str
    samples_path: Path
    claims_path: Path
    journal_path: Path
    log_path: Path
    suspects: tuple[str, ...]
    alone: tuple[str, ...]
    shard_size: int
    max_failures: int
    model_path: Path
    dtype: str
    max_tokens: int
    input: InputConfig
    resources: InferResources


def num_engines_for(resources: InferResources) -> int:
    """Say how many engines work side by side: as stated, or as many as the GPUs make."""
    if resources.num_engines is not None:
        return resources.num_engines
    if not _GPU_DRIVER.exists():
        return 1
    import torch

    return max(1, torch.cuda.device_count() // resources.num_gpus)


def run_engines(
    jobs: Sequence[InferJob], variant: Variant, on_line: Callable[[int, str], None]
) -> list[Crash]:
    """Run a child process for each job, side by side, and give those that died.

    ``on_line`` gets an engine's number and a line it printed.

    Raises:
        WaverError: the error that a child told in a sentence.
    """
    with ThreadPoolExecutor(len(jobs), thread_name_prefix="engine") as threads:
        ended = [
            # in the task's context, so that what is logged is shown as the task's
            threads.submit(
                copy_context().run, _run_engine, number, len(jobs), job, variant, on_line
            )
            for number, job in enumerate(jobs)
        ]
    return [crash for future in ended if (crash := future.result()) is not None]


def _run_engine(
    number: int, count: int, job: InferJob, variant: Variant, on_line: Callable[[int, str], None]
) -> Crash | None:
    """Run one child to its end; the engine's log is kept only of one that failed."""
    job_path = job.log_path.with_suffix(".json")
    job_path.write_text(job.model_dump_json(), encoding="utf-8")
    try:
        run_worker(
            [sys.executable, "-m", CHILD_MODULE, str(job_path)],
            on_line=lambda line: on_line(number, line),
            environment={} if count == 1 else _own_gpus(number, job.resources.num_gpus),
        )
    except WaverError as error:
        told = type(error)(str(error) + _kept_log(job, variant))
        if isinstance(told, CrashError):
            return Crash(error=told, in_flight=in_flight(job.journal_path))
        raise told from error
    return None


def _kept_log(job: InferJob, variant: Variant) -> str:
    if not job.log_path.is_file():
        return ""
    kept = f"{variant.path}/logs/{time.strftime('%Y%m%dT%H%M%S')}-{job.log_path.name}"
    variant.store.publish(job.log_path, kept)
    return f" The engine's log: {variant.store.full_path(kept)}"


def _own_gpus(number: int, num_gpus: int) -> dict[str, str]:
    """Give an engine its GPUs out of those that this process may use."""
    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    own = range(number * num_gpus, (number + 1) * num_gpus)
    names = [visible[index] if index < len(visible) else str(index) for index in own]
    return {"CUDA_VISIBLE_DEVICES": ",".join(names)}
