"""One round of engines over the pending segments, and the engines of this node that run it.

Engines on the nodes of a cluster run the same round, each as a Prefect task (`infer_engine`).
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from prefect import task
from prefect.cache_policies import NO_CACHE

from storage.records import SampleRecord
from storage.schema import to_table, write_parquet
from storage.store.variant import Variant
from tasks.inference.isolation import Crash
from tasks.inference.job import InferJob, num_engines_for, run_engines
from tasks.inference.progress import EngineLines
from tasks.inference.samples import expected_items
from tasks.inference.settings import STAGE, InferResources
from tasks.inference.shard_claims import shard_size_for
from tasks.prompting.model_input import InputConfig

CHILD_COMMAND = (sys.executable, "-m", "tasks.inference.child")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRound:
    """What all engines of one round need; ``alone`` are predicted one at a time, before all others.

    Each of several engines has a number, from 0, and stops after ``max_failures``.
    """

    variant: Variant
    alone: tuple[str, ...]
    max_failures: int
    model_path: Path
    dtype: str
    max_tokens: int
    input: InputConfig
    resources: InferResources
    num_engines: int
    num_samples: int

    def job(
        self,
        number: int,
        folder: Path,
        claims_url: str,
        resources: InferResources,
        finished: Sequence[str] = (),
    ) -> InferJob:
        """Return the job of one engine, with its files in ``folder``."""
        return InferJob(
            store_url=self.variant.store.url,
            variant_id=self.variant.variant_id,
            samples_path=folder / "samples.parquet",
            claims_url=claims_url,
            number=number,
            finished=tuple(finished),
            journal_path=folder / f"journal-{number}",
            job_path=folder / f"engine-{number}.json",
            suspects=self.alone,
            alone=self.alone[number :: self.num_engines],
            shard_size=shard_size_for(self.num_samples, self.num_engines),
            max_failures=self.max_failures,
            model_path=self.model_path,
            dtype=self.dtype,
            max_tokens=self.max_tokens,
            input=self.input,
            resources=resources,
        )


class Engines(Protocol):
    """Where the engines of a round run."""

    def count(self, resources: InferResources) -> int:
        """Return how many engines run side by side."""
        ...

    def run(
        self,
        engine_round: EngineRound,
        rows: Sequence[SampleRecord],
        on_line: Callable[[int, str], None],
    ) -> list[Crash]:
        """Run the engines over the rows, in this order, and return the crashes."""
        ...


class LocalEngines:
    """Engines on this node, each in a child process."""

    def count(self, resources: InferResources) -> int:
        """Return how many engines run side by side: the setting, or as many as the GPUs allow."""
        return num_engines_for(resources)

    def run(
        self,
        engine_round: EngineRound,
        rows: Sequence[SampleRecord],
        on_line: Callable[[int, str], None],
    ) -> list[Crash]:
        """Run the engines over the rows, in this order, and return the crashes."""
        num_engines = engine_round.num_engines
        resources = engine_round.resources.for_one_engine(num_engines, len(rows))
        with engine_round.variant.store.staging() as folder:
            write_parquet(to_table(SampleRecord, rows), folder / "samples.parquet")
            jobs = [
                engine_round.job(number, folder, str(folder / "claims"), resources)
                for number in range(num_engines)
            ]
            return run_engines(CHILD_COMMAND, jobs, engine_round.variant, on_line)


@task(
    name="infer engine",
    task_run_name="infer engine {number} of {engine_round.num_engines}",
    cache_policy=NO_CACHE,
)
def infer_engine(
    number: int,
    engine_round: EngineRound,
    rows: Mapping[str, SampleRecord],
    claims_url: str,
    num_cores: int,
) -> list[Crash]:
    """Run engine ``number``, from 1, of a round on a node of a cluster; returns its crash, if any.

    Started again after its node was lost, it predicts what it had claimed and not finished.
    """
    variant, resources = engine_round.variant, engine_round.resources
    own_resources = resources.for_one_engine(1, len(rows) // engine_round.num_engines, num_cores)
    with variant.store.staging() as folder:
        write_parquet(to_table(SampleRecord, list(rows.values())), folder / "samples.parquet")
        finished = sorted(variant.finished(expected_items(list(rows.values()))))
        job = engine_round.job(number - 1, folder, claims_url, own_resources, finished)
        return run_engines(CHILD_COMMAND, [job], variant, EngineLines(STAGE).on_line)
