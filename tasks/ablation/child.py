"""The child process of an ablation: loads the model once and predicts arm after arm.

Started as ``python -m tasks.ablation.child JOB``. Predictions are committed in small parts, as in
inference. No line that it prints names a video or quotes a word.
"""

import sys
import time
from collections.abc import Callable, Iterator, Sequence, Set
from pathlib import Path
from typing import Any, TextIO

from storage.records import SampleRecord
from storage.schema import from_table, read_parquet
from storage.store.store import Store
from storage.store.variant import ItemOutput, Variant
from tasks.ablation.job import AblationJob, ArmJob, key_of
from tasks.inference.child import PredictionCounter
from tasks.inference.engine import Engine, checked_config
from tasks.inference.isolation import Journal
from tasks.inference.preparation import DecodeSample, open_preparer
from tasks.inference.progress import MODEL_OPEN
from tasks.inference.samples import expected_items, infer_samples
from tasks.processes.child_frame import run_as_child
from tasks.stage import Shard, compute_missing

OpenEngine = Callable[[AblationJob, TextIO], tuple[Engine, Any]]


class ArmJournal(Journal):
    """The journal of one arm, in which items have their keys (`key_of`)."""

    def __init__(self, path: Path, number: int) -> None:
        super().__init__(path)
        self._number = number

    def start(self, item: str) -> None:
        """Record an item before the engine gets it."""
        super().start(key_of(self._number, item))

    def finish(self, item: str) -> None:
        """Record an item that the engine has finished."""
        super().finish(key_of(self._number, item))


def run_job(job: AblationJob, out: TextIO, open_engine: OpenEngine) -> None:
    """Predict the missing segments of every arm, until an arm rejects more than it may."""
    store = Store(job.store_url)
    engine, config = open_engine(job, out)
    counter = PredictionCounter(out)
    for arm in job.arms:
        print(f"arm {arm.name}", file=out)
        _run_arm(job, arm, store, engine, config, counter)
        if counter.is_given_up:
            break
    counter.show()


def open_engine(job: AblationJob, out: TextIO) -> tuple[Engine, Any]:
    """Open the engine; also returns a copy of its configuration, to prepare requests with.

    The engine's own holds the open model and cannot be pickled for other processes.
    """
    started = time.monotonic()
    print("opening the model", file=out)
    config = checked_config(
        job.model_path, dtype=job.dtype, max_tokens=job.max_tokens, resources=job.resources
    )
    engine = Engine(
        job.model_path, dtype=job.dtype, max_tokens=job.max_tokens, resources=job.resources
    )
    print(f"{MODEL_OPEN} after {time.monotonic() - started:.0f} s", file=out)
    return engine, config


def _run_arm(
    job: AblationJob,
    arm: ArmJob,
    store: Store,
    engine: Engine,
    config: Any,
    counter: PredictionCounter,
) -> None:
    rows = list(from_table(SampleRecord, read_parquet(arm.samples_path)))
    variant = Variant(store=store, stage=arm.stage, variant_id=arm.variant_id)

    def make(segment_ids: Sequence[str]) -> Iterator[ItemOutput]:
        missing = set(segment_ids)
        pending = [row for row in rows if row.segment_id in missing]
        with (
            open_preparer(
                DecodeSample(store_url=store.url, config=arm.input),
                config,
                job.model_path,
                max_tokens=job.max_tokens,
                num_processes=job.resources.num_decoders or 0,
            ) as questions,
            ArmJournal(job.journal_path, arm.number) as journal,
        ):
            outputs = (
                output
                for batch in _one_by_one(pending, {*job.alone}, arm.number)
                for output in infer_samples(questions(batch, journal.start), engine, journal)
            )
            yield from counter.track(outputs, arm.max_failures, rows, arm.input)

    shard = Shard(name=arm.name, expected=expected_items(rows))
    compute_missing(variant, shard, make, job.resources.commit_seconds)


def _one_by_one(
    samples: Sequence[SampleRecord], alone: Set[str], number: int
) -> Iterator[Sequence[SampleRecord]]:
    """Yield each sample to predict alone, then all others together."""
    others = []
    for sample in samples:
        if key_of(number, sample.segment_id) in alone:
            yield [sample]
        else:
            others.append(sample)
    yield others


def main(job_path: Path, open_one: OpenEngine = open_engine) -> int:
    """Run one job; returns the exit status."""

    def work(out: TextIO) -> None:
        job = AblationJob.model_validate_json(job_path.read_text(encoding="utf-8"))
        run_job(job, out, open_one)

    return run_as_child("The ablation", job_path, work)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
