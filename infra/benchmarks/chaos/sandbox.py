"""What all disturbed runs start from: a small sandbox data set, and an undisturbed run on it."""

import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from flows.context.context import open_context
from flows.context.overrides import read_overrides
from flows.context.request import RunRequest
from flows.context.results import open_report
from flows.context.stage_names import STAGES, StageName
from infra.benchmarks.chaos.processes import MARK
from infra.sandbox.plan import WorldSettings
from infra.sandbox.world import make_world
from storage.results import MetricRecord, VerdictRecord
from storage.store.lease import LEASES
from storage.store.part import read_parts
from storage.store.store import CACHE_FOLDER, TEMPORARY, Store
from storage.store.variant import Variant

RUN_SECONDS = 600.0
_ROOT = Path(__file__).parents[3]
_SETTINGS = (
    "finetune.steps=4", "finetune.eval_steps=2", "finetune.batch_size=8",
    "aggregate.bootstrap_draws=50", "resources.shard_videos=2", "resources.infer.commit_seconds=0",
)  # fmt: skip
_WORLD = WorldSettings(num_participants=3, videos_per_participant=2)

Outcome = tuple[frozenset[VerdictRecord], frozenset[MetricRecord]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """A data set, the store of an undisturbed run on it, and the environment of all runs.

    The environment names a Prefect server that outlives them.
    """

    data: Path
    finished: Path
    settings: tuple[str, ...]
    environment: Mapping[str, str]

    def arguments(self, store: Path, only: StageName | None = None) -> list[str]:
        """Return the command of a run of the pipeline, or of ``only`` one stage."""
        overrides = [part for setting in self.settings for part in ("--set", setting)]
        return [
            sys.executable, "-m", "flows.cli.main", "run", "--profile", "sandbox",
            "--data", str(self.data), "--store", str(store), *overrides,
            *(("--only", only) if only else ()),
        ]  # fmt: skip

    def request(self, store: Path, only: StageName | None = None) -> RunRequest:
        """Return the request of the same run."""
        return RunRequest(
            data=str(self.data), store=str(store), profile="sandbox",
            settings=read_overrides(self.settings), only=(only,) if only else (),
        )  # fmt: skip

    def copy_without(self, stage: StageName, store: Path, *, later: bool = False) -> None:
        """Copy the undisturbed run's store without a stage, and without the ``later`` ones.

        Results of later stages count again once this one has computed exactly the same.
        """
        removed = STAGES[STAGES.index(stage) :] if later else (stage,)
        store.mkdir(parents=True)
        for name in (*(each for each in STAGES if each not in removed), CACHE_FOLDER):
            if (self.finished / name).exists():
                shutil.copytree(self.finished / name, store / name)

    def with_settings(self, settings: Sequence[str]) -> "Sandbox":
        """Return the same sandbox whose runs have more settings."""
        return replace(self, settings=(*self.settings, *settings))

    def outcome(self, store: Path) -> Outcome:
        """Read the verdicts and metrics of a finished run."""
        report = open_report(open_context(self.request(store)))
        return frozenset(report.read(VerdictRecord)), frozenset(report.read(MetricRecord))


def marked(environment: Mapping[str, str], mark: str) -> dict[str, str]:
    """Return the environment of one disturbed run."""
    return {**environment, MARK: mark, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}


def prepare(folder: Path, environment: Mapping[str, str]) -> Sandbox:
    """Generate the data set and run the pipeline on it undisturbed, unless that is done.

    Raises:
        CalledProcessError: the undisturbed run failed.
    """
    data, finished = folder / "data", folder / "finished"
    make_world(data, _WORLD, workers=os.cpu_count() or 1)
    sandbox = Sandbox(data=data, finished=finished, settings=_SETTINGS, environment=environment)
    subprocess.run(
        sandbox.arguments(finished), cwd=_ROOT, env=marked(environment, "undisturbed"),
        check=True, timeout=RUN_SECONDS, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return sandbox


def count_items(store: Path) -> Counter[tuple[str, str]]:
    """Count in how many parts each item of each stage is; more than one was computed twice."""
    opened, counts = Store(str(store)), Counter[tuple[str, str]]()
    for stage in STAGES:
        for path in sorted((store / stage).glob("*/variant.json")):
            variant = Variant(store=opened, stage=stage, variant_id=path.parent.name)
            for part in read_parts(opened, variant.path):
                counts.update((stage, f"{item} {digest}") for item, digest in part.items.items())
    return counts


def count_parts(store: Path, stage: StageName) -> int:
    """Count the parts of a stage that are finished."""
    return sum(1 for _ in (store / stage).glob("*/done/*.json"))


def left_behind(store: Path) -> list[str]:
    """List temporary files, leases and unfinished trainings of a store in which nobody works."""
    folders = [store / TEMPORARY, store / LEASES, *store.glob("*/*/work")]
    return sorted(str(path.relative_to(store)) for folder in folders for path in folder.glob("*"))
