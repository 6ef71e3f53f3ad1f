"""The infer stage's child process: opens the model once, predicts, and commits small parts.

Started as ``python -m tasks.inference.child JOB`` (see `tasks.processes.child_frame`). No line that
it prints names a video or quotes a transcript.
"""

import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TextIO

from storage.records import SampleRecord
from storage.schema import from_table, read_parquet
from storage.store.store import Store
from storage.store.variant import ItemOutput, Variant
from tasks.inference.engine import Engine, checked_config
from tasks.inference.failures import has_failed
from tasks.inference.isolation import Journal
from tasks.inference.job import InferJob
from tasks.inference.preparation import DecodeSample, RequestPreparer, open_preparer
from tasks.inference.progress import MODEL_OPEN
from tasks.inference.samples import expected_items, infer_samples
from tasks.inference.settings import STAGE
from tasks.inference.shard_claims import claim_samples
from tasks.processes.child_frame import DoneCounter, run_as_child
from tasks.prompting.model_input import InputConfig
from tasks.stage import Shard, compute_missing

OpenJob = AbstractContextManager[tuple[RequestPreparer, Callable[[], Engine]]]
JobOpener = Callable[[InferJob, TextIO], OpenJob]


class PredictionCounter(DoneCounter):
    """Counts predictions as they pass.

    Attributes:
        is_given_up: Whether more of them failed than allowed.
    """

    def __init__(self, out: TextIO) -> None:
        super().__init__(out)
        self.is_given_up = False

    def track(
        self,
        outputs: Iterator[ItemOutput],
        max_failures: int,
        samples: Iterable[SampleRecord],
        config: InputConfig,
    ) -> Iterator[ItemOutput]:
        """Yield the outputs for these samples until more than ``max_failures`` failed."""
        sample_of: dict[str, SampleRecord] = {sample.segment_id: sample for sample in samples}
        num_failed = 0
        for output in outputs:
            self.add()
            num_failed += has_failed(output, sample_of[output.item_id], config)
            yield output
            self.show_if_due()
            if num_failed > max_failures:
                self.is_given_up = True
                break


def run_job(job: InferJob, out: TextIO, open_job: JobOpener) -> None:
    """Predict all of a job's samples that no other engine claims, into its variant."""
    store = Store(job.store_url)
    variant = Variant(store=store, stage=STAGE, variant_id=job.variant_id)
    samples = list(from_table(SampleRecord, read_parquet(job.samples_path)))
    progress = PredictionCounter(out)

    def compute(_: Sequence[str]) -> Iterator[ItemOutput]:
        # All engines get the same samples: predictions of other engines come from claimed shards.
        outputs = _predict(job, samples, out, open_job)
        yield from progress.track(outputs, job.max_failures, samples, job.input)

    shard = Shard(name="all", expected=expected_items(samples))
    compute_missing(variant, shard, compute, job.resources.commit_seconds)
    progress.show()


def _predict(
    job: InferJob,
    samples: Sequence[SampleRecord],
    out: TextIO,
    open_job: JobOpener,
) -> Iterator[ItemOutput]:
    """Predict this engine's suspects one at a time, then the shards that it claims."""
    finished, alone = set(job.finished), set(job.alone) - set(job.finished)
    others = [sample for sample in samples if sample.segment_id not in job.suspects]
    with (
        Journal(job.journal_path) as journal,
        open_job(job, out) as (prepare, open_engine),
    ):
        claims = claim_samples(others, job.claims_url, size=job.shard_size, owner=job.number)
        missing = (sample for sample in claims if sample.segment_id not in finished)
        claimed = prepare(missing, journal.start)  # preparation starts while the engine opens
        engine = open_engine()
        for sample in samples:
            if sample.segment_id in alone:
                yield from infer_samples(prepare([sample], journal.start), engine, journal)
        yield from infer_samples(claimed, engine, journal)
        fraction = engine.num_cached_tokens / max(engine.num_tokens, 1)
        print(f"{fraction:.0%} of all prompt tokens came from the prefix cache", file=out)


@contextmanager
def open_job(job: InferJob, out: TextIO) -> Iterator[tuple[RequestPreparer, Callable[[], Engine]]]:
    """Open a job's request preparer, which can start at once, beside a function for the engine."""
    started = time.monotonic()
    print("opening the model", file=out)
    config = checked_config(
        job.model_path, dtype=job.dtype, max_tokens=job.max_tokens, resources=job.resources
    )

    def open_engine() -> Engine:
        engine = Engine(
            job.model_path, dtype=job.dtype, max_tokens=job.max_tokens, resources=job.resources,
            config=config,
        )  # fmt: skip
        print(f"{MODEL_OPEN} after {time.monotonic() - started:.0f} s", file=out)
        return engine

    with open_preparer(
        DecodeSample(store_url=job.store_url, config=job.input),
        config,
        job.model_path,
        max_tokens=job.max_tokens,
        num_processes=job.resources.num_decoders or 0,
    ) as prepare:
        yield prepare, open_engine


def main(job_path: Path) -> int:
    """Run one job and return the exit status."""

    def work(out: TextIO) -> None:
        job = InferJob.model_validate_json(job_path.read_text(encoding="utf-8"))
        run_job(job, out, open_job)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"peak memory {peak:.1f} GiB", file=out)

    return run_as_child("The inference engine", job_path, work)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
