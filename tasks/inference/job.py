"""One child process an engine: what it is told, and what its parent does until all have ended."""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextvars import copy_context
from functools import partial
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from storage.errors import ConfigError, CrashError, WaverError
from storage.store.variant import Variant
from tasks.inference.isolation import Crash, in_flight
from tasks.inference.settings import InferResources
from tasks.log import LOGGER
from tasks.model.gpu import count_gpus, has_gpu_driver
from tasks.processes.child_process import run_child
from tasks.processes.error_file import log_path_of
from tasks.processes.group import ChildGroup
from tasks.prompting.model_input import InputConfig


class EngineJob(BaseModel):
    """What every child process that opens an engine has to know; written as JSON.

    Those in ``alone`` are asked about one at a time, before all others. What the engine has in
    work is noted in the journal. The job is written to ``job_path``, its log lies beside it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    store_url: str
    journal_path: Path
    job_path: Path
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
    job.job_path.write_text(job.model_dump_json(), encoding="utf-8")
    return job.job_path


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
        run_child(
            command, on_line=on_line, job_path=job.job_path, environment=environment, group=group
        )
    except CrashError as error:
        crash = Crash(
            error=error,
            in_flight=in_flight(job.journal_path),
            log=variant.keep_log(log_path_of(job.job_path)) or "",
        )
        LOGGER.warning(
            "%s: an engine died: %s. Its log: %s", variant.stage, crash.reason, crash.log
        )
        return crash
    except WaverError as error:
        if not group.is_stopped and (log := variant.keep_log(log_path_of(job.job_path))):
            raise type(error)(f"{error} The engine's log: {log}") from error
        raise
    return None


def _own_gpus(number: int, num_gpus: int) -> dict[str, str]:
    """Give an engine its GPUs out of those that this process may use."""
    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    own = range(number * num_gpus, (number + 1) * num_gpus)
    names = [visible[index] if index < len(visible) else str(index) for index in own]
    return {"CUDA_VISIBLE_DEVICES": ",".join(names)}
