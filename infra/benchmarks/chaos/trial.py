"""One kill: a run is started, a process of it is killed, and the run is started again."""

import os
import random
import shutil
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from flows.context.stage_names import StageName
from infra.benchmarks.chaos.clocks import shift_files, with_shifted_clock
from infra.benchmarks.chaos.cluster import TwoNodes
from infra.benchmarks.chaos.deployment import running_names
from infra.benchmarks.chaos.disturbed_run import DisturbedRun
from infra.benchmarks.chaos.processes import Process, find_marked, wait_until
from infra.benchmarks.chaos.sandbox import (
    RUN_SECONDS,
    Outcome,
    Sandbox,
    count_items,
    count_parts,
    left_behind,
)
from infra.benchmarks.chaos.victims import Victim
from storage.errors import WaverError
from storage.store.lease import LEASES

_END_SECONDS = 120.0  # within which a run of one stage ends by itself, or completes, after a kill
_LEFT_SECONDS = 30.0
_LEFT_ON_NODES_SECONDS = 90.0  # nodes that lost their head end after a minute
_RECORDED_SECONDS = 60.0  # the server looks for dead runs every 10 s
_MAX_RUNS = 3
_LATER_SECONDS = {
    "segment": 1.0, "transcribe": 1.0, "manifest": 0.3, "finetune": 8.0, "infer": 1.0,
    "aggregate": 0.6,
}  # fmt: skip
_MAX_FRACTION_DONE = 0.6


@dataclass(slots=True, kw_only=True)
class Trial:
    """What one kill led to; ``problems`` is empty if the pipeline kept its promises."""

    victim: str
    signal: str
    stage: StageName
    is_deployed: bool = False
    num_reruns: int = 0
    num_finished_before: int = 0
    num_computed_after: int = 0
    num_computed_twice: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)


def kill_once(
    sandbox: Sandbox,
    undisturbed: Outcome,
    victim: Victim,
    number: int,
    stage: StageName,
    folder: Path,
    *,
    deployment: UUID | None = None,
    dice: random.Random,
    later: bool = False,
    only: bool = False,
    shift: int = 0,
    cluster: TwoNodes | None = None,
) -> Trial | None:
    """Kill a process of ``victim`` with signal ``number`` while ``stage`` is computed.

    The stage, and with ``later`` those after it, has to be computed; the others are finished, and
    not part of the runs with ``only``. The killed run's clock is ahead by ``shift`` seconds.
    Returns ``None`` if the process had ended before its turn came.
    """
    started = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    trial = Trial(victim=victim.name, signal=signal.Signals(number).name, stage=stage,
                  is_deployed=victim.is_deployed)  # fmt: skip
    store = folder / "store"
    sandbox.copy_without(stage, store, later=later)
    at_first = count_items(store)
    run = DisturbedRun(
        sandbox, store, folder, deployment if victim.is_deployed else None,
        stage if only else None, cluster if victim.is_on_cluster else None,
    )  # fmt: skip
    environment = dict(sandbox.environment)
    if victim.owns_server:
        environment.pop("PREFECT_API_URL")
        environment["PREFECT_HOME"] = str(folder.parent / "own server")
    try:
        run.start(
            with_shifted_clock(environment, shift, folder / "clock") if shift else environment
        )
        num_parts = count_parts(sandbox.finished, stage)
        if not _strike(run, victim, number, stage, store, num_parts, dice):
            return None
        _await_end(run, trial, _END_SECONDS if only else RUN_SECONDS)
        before = count_items(store)
        if victim.is_deployed and not victim.program:
            run.stop()  # a worker that got SIGTERM lives on, but takes no more runs
        if shift:
            shift_files(store, shift)
        complete(run, environment, trial)
        after = count_items(store)
    finally:
        run.kill()
    if not victim.owns_server:
        check_recorded(trial)
    trial.num_finished_before = sum(before.values()) - sum(at_first.values())
    trial.num_computed_after = sum(after.values()) - sum(before.values())
    check_results(sandbox, undisturbed, store, trial)
    trial.seconds = time.monotonic() - started
    return trial


def _strike(
    run: DisturbedRun,
    victim: Victim,
    number: int,
    stage: StageName,
    store: Path,
    num_parts: int,
    dice: random.Random,
) -> bool:
    """Kill the victim after a random part of the stage; return whether it was still there."""
    num_done = int(dice.uniform(0, _MAX_FRACTION_DONE) * num_parts)

    def find() -> int | None:
        return victim.find(find_marked(run.mark), run.process_id, run.cluster_processes())

    def is_in_stage() -> bool:
        return any((store / LEASES).glob(f"{stage}.*")) and find() is not None

    def is_time() -> bool:
        return count_parts(store, stage) >= num_done and is_in_stage()

    wait_until(lambda: is_time() or run.has_ended(), RUN_SECONDS)
    time.sleep(dice.uniform(0, _LATER_SECONDS[stage]))
    process_id = find()
    if process_id is None or not any((store / LEASES).glob(f"{stage}.*")):
        return False
    try:
        os.kill(process_id, number)
    except ProcessLookupError:
        return False
    return True


def _await_end(run: DisturbedRun, trial: Trial, seconds: float) -> None:
    """Wait until the disturbed run has ended, completed or not; it must leave no process."""
    if not wait_until(run.has_ended, seconds):
        trial.problems.append(f"still running {seconds:.0f} s after the kill")
        run.kill()
    if "Traceback (most recent call last)" in run.output():
        trial.problems.append("the killed run ended with a traceback")
    if not trial.is_deployed:
        check_processes(run, trial, "the killed run")


def complete(run: DisturbedRun, environment: dict[str, str], trial: Trial) -> None:
    """Start the run again, in the same way, until it completes."""
    while trial.num_reruns < _MAX_RUNS:
        run.start(environment)
        trial.num_reruns += 1
        if wait_until(run.has_ended, RUN_SECONDS) and run.succeeded():
            break
        trial.problems.append(f"run {trial.num_reruns} after the kill failed: {_end_of(run)!r}")
        check_processes(run, trial, "a failed run")
    run.stop()
    check_processes(run, trial, "the last run")


def check_processes(run: DisturbedRun, trial: Trial, what: str) -> None:
    """Add a problem for processes that a run which has ended left."""

    def left_over() -> list[Process]:
        return [*find_marked(run.mark), *run.work_on_nodes()]

    seconds = _LEFT_ON_NODES_SECONDS if run.cluster_processes() else _LEFT_SECONDS
    if not wait_until(lambda: not left_over(), seconds):
        left = [process.command[:100] for process in left_over()]
        trial.problems.append(f"{what} left processes: {left}")
        run.kill()


def check_recorded(trial: Trial) -> None:
    """Add a problem for runs that the Prefect server still shows as running: all have ended."""
    if not wait_until(lambda: not running_names(), _RECORDED_SECONDS):
        trial.problems.append(f"still Running on the Prefect server: {running_names()}")


def check_results(sandbox: Sandbox, undisturbed: Outcome, store: Path, trial: Trial) -> None:
    """Add what differs from an undisturbed run, was computed twice, or was left in the store."""
    twice = {item: count for item, count in count_items(store).items() if count > 1}
    trial.num_computed_twice = sum(count - 1 for count in twice.values())
    if twice:
        stages = sorted({stage for stage, _ in twice})
        trial.problems.append(f"{len(twice)} items of {stages} were computed twice")
    if left := left_behind(store):
        trial.problems.append(f"left in the store: {left}")
    try:
        outcome = sandbox.outcome(store)
    except WaverError as error:
        trial.problems.append(f"no verdicts: {error}")
        return
    if outcome != undisturbed:
        trial.problems.append("verdicts or metrics differ from those of an undisturbed run")


def _end_of(run: DisturbedRun) -> str:
    return run.output().strip()[-400:]
