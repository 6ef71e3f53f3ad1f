"""Many kills of random victims at random moments, and the faults of disks and clocks."""

import os
import random
import shutil
import signal
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.context.stage_names import StageName
from flows.server.local_server import prefect_server
from infra.benchmarks.chaos.cluster import TwoNodes
from infra.benchmarks.chaos.deployment import deploy
from infra.benchmarks.chaos.disks import run_on_full_disk, run_on_read_only_disk
from infra.benchmarks.chaos.sandbox import Sandbox, prepare
from infra.benchmarks.chaos.table import table_lines
from infra.benchmarks.chaos.trial import Trial, kill_once
from infra.benchmarks.chaos.victims import VICTIMS, Victim

_MAX_TRIES = 4
_FRACTION_WITH_LATER_STAGES = 0.1
_TWO_DAYS = 2 * 24 * 3600

Plan = tuple[Victim, int, StageName]


def plan_kills(num_kills: int, dice: random.Random, names: Sequence[str] = ()) -> Iterator[Plan]:
    """Yield a victim, a signal and a stage for each kill: all victims in turn, in random order."""
    chosen = [v for v in VICTIMS if not names or any(name in v.name for name in names)]
    pairs = [(v, number) for v in chosen for number in (signal.SIGKILL, signal.SIGTERM)]
    for number in range(num_kills):
        if number % len(pairs) == 0:
            dice.shuffle(pairs)
        victim, signal_number = pairs[number % len(pairs)]
        yield victim, signal_number, dice.choice(victim.stages)


def run_campaign(folder: Path, num_kills: int, seed: int, names: Sequence[str]) -> int:
    """Run all trials in ``folder`` and print each and the table; return 1 if there is a problem.

    With ``names``, only victims whose name contains one of them are killed, and nothing else.
    """
    dice, trials = random.Random(seed), list[Trial]()
    with prefect_server() as api_url, temporary_settings({PREFECT_API_URL: api_url}):
        sandbox = prepare(folder, {**os.environ, "PREFECT_API_URL": api_url})
        try:
            for trial in chain(
                () if names else faults(sandbox, folder, dice),
                kills(sandbox, folder, plan_kills(num_kills, dice, names), dice),
            ):
                trials.append(trial)
                print(f"{len(trials):3d} {describe(trial)}", flush=True)
        finally:
            print(*table_lines(trials), sep="\n", flush=True)
    return 1 if any(trial.problems for trial in trials) else 0


def kills(
    sandbox: Sandbox,
    folder: Path,
    plans: Iterable[Plan],
    dice: random.Random,
    *,
    later_fraction: float = _FRACTION_WITH_LATER_STAGES,
) -> Iterator[Trial]:
    """Carry out planned kills; one that comes too late is tried again at other moments.

    In this fraction of them, all stages are run, and those after the disturbed one have to be
    computed too; the other runs are of the disturbed stage alone.
    """
    undisturbed = sandbox.outcome(sandbox.finished)
    deployment, cluster = None, TwoNodes(sandbox.environment)
    try:
        for index, (victim, number, stage) in enumerate(plans):
            own = folder / f"kill-{index + 1}"
            if victim.is_deployed and deployment is None:
                deployment = deploy()
            later = dice.random() < later_fraction
            for _ in range(_MAX_TRIES):
                trial = kill_once(
                    sandbox, undisturbed, victim, number, stage, own, deployment=deployment,
                    dice=dice, later=later, only=not later, cluster=cluster,
                )  # fmt: skip
                if trial is not None:
                    yield trial
                    _remove(own, trial)
                    break
            else:
                print(f"{victim.name} in {stage}: ended before each kill", flush=True)
    finally:
        cluster.end()


def faults(sandbox: Sandbox, folder: Path, dice: random.Random) -> Iterator[Trial]:
    """Run on full and read-only disks, and with a clock that is moved between the runs."""
    undisturbed = sandbox.outcome(sandbox.finished)
    for stage in ("segment", "transcribe", "infer"):
        own = folder / f"full-{stage}"
        trial = run_on_full_disk(sandbox, undisturbed, stage, own, dice)
        yield trial
        _remove(own, trial)
    own = folder / "read-only"
    trial = run_on_read_only_disk(sandbox, undisturbed, "segment", own)
    yield trial
    _remove(own, trial)
    for shift, name in ((_TWO_DAYS, "2 days back"), (-_TWO_DAYS, "2 days ahead")):
        own = folder / f"clock {name}"
        moved = kill_once(
            sandbox, undisturbed, VICTIMS[0], signal.SIGKILL, "segment", own, dice=dice,
            shift=shift, later=True,
        )  # fmt: skip
        if moved is not None:
            moved.victim, moved.signal = "clock and command", f"moved {name}, SIGKILL"
            yield moved
            _remove(own, moved)


def describe(trial: Trial) -> str:
    """Return a line about one trial."""
    problems = "; ".join(trial.problems) or "as undisturbed"
    return (
        f"{trial.signal} of the {trial.victim} in {trial.stage}: {problems} "
        f"({trial.num_reruns} re-runs, {trial.seconds:.0f} s)"
    )


def _remove(folder: Path, trial: Trial) -> None:
    """Remove what a trial without problems leaves."""
    if not trial.problems:
        shutil.rmtree(folder, ignore_errors=True)
