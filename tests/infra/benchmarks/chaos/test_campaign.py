"""The short form of `make chaos`: a few kills, each followed by one more run, and a full disk.

Commands and workers are those of `infra.benchmarks.chaos.disturbed_run` and
`infra.benchmarks.chaos.deployment`: real ones, against one real server.
"""

import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.server.environment import prepare_environment
from flows.server.local_server import prefect_server
from infra.benchmarks.chaos.campaign import describe, kills, plan_kills
from infra.benchmarks.chaos.disks import run_on_full_disk
from infra.benchmarks.chaos.sandbox import Sandbox
from infra.benchmarks.chaos.victims import VICTIMS
from tests.flows.commands.command_line import QUICK, SandboxRun

BY_NAME = {victim.name: victim for victim in VICTIMS}
SHORT = (
    (BY_NAME["command"], signal.SIGKILL, "segment"),
    (BY_NAME["ffmpeg"], signal.SIGTERM, "segment"),
    (BY_NAME["command"], signal.SIGTERM, "aggregate"),
    (BY_NAME["inference child with the engine"], signal.SIGKILL, "infer"),
    (BY_NAME["worker of a deployment"], signal.SIGKILL, "transcribe"),
)


@pytest.fixture(scope="module")
def sandbox(new_history, sandbox_run: SandboxRun) -> Iterator[Sandbox]:
    with pytest.MonkeyPatch.context() as patch:
        prepare_environment(new_history(patch))
        with prefect_server() as api_url, temporary_settings({PREFECT_API_URL: api_url}):
            yield Sandbox(
                data=sandbox_run.data, finished=sandbox_run.store, settings=QUICK,
                environment={**os.environ, "PREFECT_API_URL": api_url},
            )  # fmt: skip


@pytest.mark.operations
@pytest.mark.timeout(1_800)
def test_after_five_kills_the_next_runs_end_as_an_undisturbed_one(sandbox, tmp_path: Path) -> None:
    trials = list(kills(sandbox, tmp_path, SHORT, random.Random(3), later_fraction=0.0))
    assert not [describe(trial) for trial in trials if trial.problems]
    assert len(trials) == len(SHORT)
    assert all(trial.num_reruns == 1 for trial in trials)
    assert sum(trial.num_computed_after for trial in trials) > 0


@pytest.mark.operations
@pytest.mark.timeout(1_500)
def test_a_run_on_a_full_disk_stops_with_one_sentence_and_the_next_one_completes(
    sandbox, with_own_mounts, tmp_path: Path
) -> None:
    undisturbed = sandbox.outcome(sandbox.finished)
    trial = run_on_full_disk(sandbox, undisturbed, "segment", tmp_path, random.Random(1))
    assert trial.problems == []
    assert trial.num_computed_after > 0


def test_all_victims_get_both_signals_in_stages_in_which_they_exist() -> None:
    plans = list(plan_kills(2 * len(VICTIMS), random.Random(5)))
    assert {(victim.name, number) for victim, number, _ in plans} == {
        (name, number) for name in BY_NAME for number in (signal.SIGKILL, signal.SIGTERM)
    }
    assert all(stage in victim.stages for victim, _, stage in plans)
    again = list(plan_kills(2 * len(VICTIMS), random.Random(5)))
    assert plans == again
    chosen = {victim.name for victim, _, _ in plan_kills(50, random.Random(5), ["child"])}
    assert chosen == {"training child", "inference child with the engine"}
