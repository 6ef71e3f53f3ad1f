"""Jobs of the engines' child processes, and the parent that runs one child per engine."""

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
from tasks.model.gpu_lock import hold_gpus, names_of_gpus
from tasks.processes.child_process import run_child
from tasks.processes.error_file import log_path_of
from tasks.processes.group import ChildGroup
from tasks.prompting.model_input import InputConfig


class EngineJob(BaseModel):
    """The input of a child process that opens an engine, passed as a JSON file.

    The items in ``alone`` are predicted one at a time, before all others. The child's log and error
    file are written beside ``job_path``.
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
    """The input of one of several engines that claim shards of the same samples.

    ``samples_path`` lists the samples in the order of prediction, ``finished`` those of them that
    have a prediction. The engine claims shards as ``number``. Each of the ``suspects`` is predicted
    only by the engine that lists it in ``alone``.
    """

    variant_id: str
    samples_path: Path
    claims_url: str
    number: int = 0
    finished: tuple[str, ...] = ()
    suspects: tuple[str, ...]
    shard_size: int
    max_failures: int
    input: InputConfig


def num_engines_for(resources: InferResources) -> int:
    """Return how many engines run side by side: the setting, or as many as the GPUs allow.

    Raises:
        ConfigError: there are GPUs, but too few for the number of engines in the settings.
    """
    num_engines = resources.num_engines
    num_visible = count_gpus() if has_gpu_driver() else 0
    if num_engines and num_visible and num_engines * resources.num_gpus > num_visible:
        raise ConfigError(
            f"{num_engines} engines of {resources.num_gpus} GPU(s) each need more than the "
            f"{num_visible} visible GPUs: lower resources.infer.num_engines, or leave it out."
        )
    return num_engines or max(1, num_visible // resources.num_gpus)


def run_engines(
    command: Sequence[str],
    jobs: Sequence[EngineJob],
    variant: Variant,
    on_line: Callable[[int, str], None],
) -> list[Crash]:
    """Run a child process for each job, side by side, and return the crashes.

    The path of a job is appended to ``command``. ``on_line`` gets an engine's number and a line
    that it printed. The other engines take over a crashed engine's work. The logs of failed engines
    are kept in the variant's folder.

    Raises:
        WaverError: the first error that a child reported; the other children are stopped.
    """
    group = ChildGroup()

    def run_one(number: int, job: EngineJob) -> Crash | None:
        environment = {} if len(jobs) == 1 else _own_gpus(number, job.resources.num_gpus)
        return _run_engine(
            [*command, str(_write(job))], job, variant, partial(on_line, number), environment,
            group, descriptors,
        )  # fmt: skip

    num_gpus = sum(job.resources.num_gpus for job in jobs)
    with (
        hold_gpus(names_of_gpus(num_gpus), variant.stage) as descriptors,
        ThreadPoolExecutor(len(jobs), thread_name_prefix="engine") as threads,
    ):
        futures: list[Future[Crash | None]] = [
            # in the task's context: Prefect then shows the logs under the task
            threads.submit(copy_context().run, run_one, number, job)
            for number, job in enumerate(jobs)
        ]
        for future in as_completed(futures):
            if error := future.exception():
                group.stop()
                raise error
    return [crash for future in futures if (crash := future.result()) is not None]


def _write(job: EngineJob) -> Path:
    job.job_path.write_text(job.model_dump_json(), encoding="utf-8")
    return job.job_path


def _run_engine(
    command: Sequence[str],
    job: EngineJob,
    variant: Variant,
    on_line: Callable[[str], None],
    environment: Mapping[str, str],
    group: ChildGroup,
    descriptors: Sequence[int],
) -> Crash | None:
    """Run one child until it exits; keep its log only if it failed."""
    try:
        run_child(
            command, on_line=on_line, job_path=job.job_path, environment=environment, group=group,
            descriptors=descriptors,
        )  # fmt: skip
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
    """Assign an engine its part of the GPUs that are visible to this process."""
    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    own = range(number * num_gpus, (number + 1) * num_gpus)
    names = [visible[index] if index < len(visible) else str(index) for index in own]
    return {"CUDA_VISIBLE_DEVICES": ",".join(names)}
