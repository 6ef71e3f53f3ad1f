"""One child process an engine: what it is told, and what its parent does until all have ended."""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextvars import copy_context
from functools import partial
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from storage.errors import ConfigError, CrashError, WaverError
from storage.store.variant import Variant
from tasks.inference.engine_settings import EngineResources
from tasks.inference.isolation import Crash, in_flight
from tasks.log import LOGGER
from tasks.processes.child_process import run_worker
from tasks.processes.group import ChildGroup
from tasks.processes.worker_pool import num_workers_for
from tasks.prompting.model_input import InputConfig

_GPU_DRIVER = Path("/proc/driver/nvidia/version")


class InferResources(EngineResources):
    """What changes only how fast predictions are made."""

    num_nodes: int = Field(default=1, ge=1, le=32)
    """Machines whose workers share the segments, by the deployment infer-share; with 1 this machine
    answers all of them."""
    num_engines: int | None = Field(default=None, ge=1, le=64)
    """Engines at work side by side; by default one for every `num_gpus` GPUs that are there."""
    num_decoders: int | None = Field(default=None, ge=0, le=256)
    """Processes of each engine that decode and prepare segments ahead of it; by default one a core
    of its share, less one for the engine, or half of them where it computes on cores too; none for
    few segments. With 0 a thread of the engine's process does it."""
    commit_seconds: float = Field(default=10.0, ge=0)
    """Results are committed this often; a kill loses no more than this."""

    def of_one(self, num_engines: int, num_samples: int) -> "InferResources":
        """Deal the machine's cores to one of its engines: to its threads and its processes.

        An engine of two threads beside one process is slower, on two cores, than one of one thread.
        """
        on_gpu = has_gpu_driver()
        cores = max(1, len(os.sched_getaffinity(0)) // num_engines)
        num_decoders = self.num_decoders
        if num_decoders is None:
            free = cores - 1 if on_gpu else cores // 2
            num_decoders = num_workers_for(num_samples // num_engines, free)
        threads = self.cpu_threads or max(1, cores - num_decoders)
        return self.model_copy(update={"num_decoders": num_decoders, "cpu_threads": threads})


class EngineJob(BaseModel):
    """What every child process that opens an engine has to know; written as JSON.

    Those in ``alone`` are asked about one at a time, before all others. What the engine has in
    work is noted in the journal, what the libraries print goes to the log.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    store_url: str
    journal_path: Path
    log_path: Path
    alone: tuple[str, ...]
    model_path: Path
    dtype: str
    max_tokens: int
    resources: InferResources


class InferJob(EngineJob):
    """What one of several engines has to know, which share their samples out among themselves.

    ``samples_path`` holds the samples in the order in which they are asked about. ``suspects`` are
    asked about each by the engine that lists it in ``alone``.
    """

    variant_id: str
    samples_path: Path
    claims_path: Path
    suspects: tuple[str, ...]
    shard_size: int
    max_failures: int
    input: InputConfig


def has_gpu_driver() -> bool:
    """Say whether this machine has a GPU, without importing torch."""
    return _GPU_DRIVER.exists()


def num_engines_for(resources: InferResources) -> int:
    """Say how many engines work side by side: as stated, or as many as the GPUs make.

    Raises:
        ConfigError: there are GPUs, but fewer than the engines stated need.
    """
    stated = resources.num_engines
    num_cached = count_gpus() if has_gpu_driver() else 0
    if stated and num_cached and stated * resources.num_gpus > num_cached:
        raise ConfigError(
            f"{stated} engines of {resources.num_gpus} GPU(s) each need more than the {num_cached} "
            "that this process may use: lower resources.infer.num_engines, or leave it out."
        )
    return stated or max(1, num_cached // resources.num_gpus)


def count_gpus() -> int:
    """Count the GPUs that this process may use."""
    import torch

    return torch.cuda.device_count()


def run_engines(
    command: Sequence[str],
    jobs: Sequence[EngineJob],
    variant: Variant,
    on_line: Callable[[int, str], None],
) -> list[Crash]:
    """Run a child process for each job, side by side, and give those that died.

    ``command`` gets the path of a job. ``on_line`` gets an engine's number and a line it printed.
    An engine that dies leaves its work to the others; the logs of those that fail are kept in the
    variant's folder.

    Raises:
        WaverError: the first error that a child told in a sentence, which ends the others.
    """
    group = ChildGroup()

    def run_one(number: int, job: EngineJob) -> Crash | None:
        environment = {} if len(jobs) == 1 else _own_gpus(number, job.resources.num_gpus)
        return _run_engine(
            [*command, str(_written(job))], job, variant, partial(on_line, number), environment,
            group,
        )  # fmt: skip

    with ThreadPoolExecutor(len(jobs), thread_name_prefix="engine") as threads:
        ended: list[Future[Crash | None]] = [
            # in the task's context, so that what is logged is shown as the task's
            threads.submit(copy_context().run, run_one, number, job)
            for number, job in enumerate(jobs)
        ]
        for future in as_completed(ended):
            if error := future.exception():
                group.stop()
                raise error
    return [crash for future in ended if (crash := future.result()) is not None]


def _written(job: EngineJob) -> Path:
    path = job.log_path.with_suffix(".json")
    path.write_text(job.model_dump_json(), encoding="utf-8")
    return path


def _run_engine(
    command: Sequence[str],
    job: EngineJob,
    variant: Variant,
    on_line: Callable[[str], None],
    environment: Mapping[str, str],
    group: ChildGroup,
) -> Crash | None:
    """Run one child to its end; the engine's log is kept only of one that failed."""
    try:
        run_worker(command, on_line=on_line, environment=environment, group=group)
    except CrashError as error:
        crash = Crash(
            error=error,
            in_flight=in_flight(job.journal_path),
            log=variant.keep_log(job.log_path) or "",
        )
        LOGGER.warning(
            "%s: an engine died: %s. Its log: %s", variant.stage, crash.reason, crash.log
        )
        return crash
    except WaverError as error:
        if not group.is_stopped and (log := variant.keep_log(job.log_path)):
            raise type(error)(f"{error} The engine's log: {log}") from error
        raise
    return None


def _own_gpus(number: int, num_gpus: int) -> dict[str, str]:
    """Give an engine its GPUs out of those that this process may use."""
    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    own = range(number * num_gpus, (number + 1) * num_gpus)
    names = [visible[index] if index < len(visible) else str(index) for index in own]
    return {"CUDA_VISIBLE_DEVICES": ",".join(names)}
