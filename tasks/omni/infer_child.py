"""The child process of the infer stage: opens the model once, answers, commits small parts.

Started as ``python -m tasks.omni.infer_child JOB``. Prints ``done N`` now and then, other lines of
progress, and a user's error as ``error: <sentence>``; all that the libraries print goes to the
job's log. No line names a video or quotes a word.
"""

import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TextIO

from storage.records import RejectedRecord, SampleRecord
from storage.schema import from_table, read_parquet
from storage.store import Store
from storage.variant import ItemOutput, Variant
from tasks.child_main import run_as_child
from tasks.infer import STAGE, infer_samples, wanted_of
from tasks.omni.dealing import claimed
from tasks.omni.engine import Engine, checked_config
from tasks.omni.infer_job import InferJob
from tasks.omni.isolation import Journal
from tasks.omni.progress import MODEL_OPEN
from tasks.omni.questions import Decoding, Questions, open_questions
from tasks.omni.workers import num_workers_for
from tasks.stage import Shard, make_missing

OpenEngine = Callable[[InferJob, int, TextIO], AbstractContextManager[tuple[Engine, Questions]]]

_SHOW_SECONDS = 1.0


class Progress:
    """Counts results as they pass, and prints their number every second.

    ``is_given_up`` says that more of them were rejected than may be.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._num_done = 0
        self._due = 0.0
        self.is_given_up = False

    def watch(self, outputs: Iterator[ItemOutput], max_failures: int) -> Iterator[ItemOutput]:
        """Pass results on, until more of them are rejected than may be."""
        num_failed = 0
        for output in outputs:
            self._num_done += 1
            num_failed += any(isinstance(row, RejectedRecord) for row in output.rows)
            yield output
            if time.monotonic() >= self._due:
                self.show()
            if num_failed > max_failures:
                self.is_given_up = True
                break

    def show(self) -> None:
        """Print how many results there are."""
        print(f"done {self._num_done}", file=self._out)
        self._due = time.monotonic() + _SHOW_SECONDS


def run_job(job: InferJob, out: TextIO, open_engine: OpenEngine) -> None:
    """Answer all of a job's samples that no other engine claims, into its variant."""
    store = Store(job.store_url)
    variant = Variant(store=store, stage=STAGE, variant_id=job.variant_id)
    samples = list(from_table(SampleRecord, read_parquet(job.samples_path)))
    progress = Progress(out)

    def make(segment_ids: Sequence[str]) -> Iterator[ItemOutput]:
        # All engines deal the same samples: what another has answered, it had claimed before.
        with open_engine(job, len(segment_ids), out) as (engine, questions):
            yield from progress.watch(_ask(job, samples, engine, questions), job.max_failures)

    shard = Shard(name="all", wanted=wanted_of(samples))
    make_missing(variant, shard, make, job.resources.commit_seconds)
    progress.show()


def _ask(
    job: InferJob, samples: Sequence[SampleRecord], engine: Engine, questions: Questions
) -> Iterator[ItemOutput]:
    """Ask about this engine's suspects, one at a time, then about what it claims."""
    others = [sample for sample in samples if sample.segment_id not in job.suspects]
    with Journal(job.journal_path) as journal:
        for sample in samples:
            if sample.segment_id in job.alone:
                yield from infer_samples([sample], engine, questions, journal)
        dealt = claimed(others, job.claims_path, size=job.shard_size)
        yield from infer_samples(dealt, engine, questions, journal)


@contextmanager
def opened(job: InferJob, num_samples: int, out: TextIO) -> Iterator[tuple[Engine, Questions]]:
    """Open the engine; the processes that prepare its questions start meanwhile."""
    begun = time.monotonic()
    print("opening the model", file=out)
    config = checked_config(
        job.model_path, dtype=job.dtype, max_tokens=job.max_tokens, resources=job.resources
    )
    with open_questions(
        Decoding(store_url=job.store_url, config=job.input),
        config,
        job.model_path,
        max_tokens=job.max_tokens,
        num_processes=num_workers_for(job.resources.num_decoders, num_samples),
    ) as questions:
        engine = Engine(
            job.model_path, dtype=job.dtype, max_tokens=job.max_tokens, resources=job.resources,
            config=config,
        )  # fmt: skip
        print(f"{MODEL_OPEN} after {time.monotonic() - begun:.0f} s", file=out)
        yield engine, questions
        share = engine.num_cached_tokens / max(engine.num_tokens, 1)
        print(f"{share:.0%} of all tokens, the shared instruction, came from the cache", file=out)


def main(job_path: Path) -> int:
    """Run one job; gives the exit status."""
    job = InferJob.model_validate_json(job_path.read_text(encoding="utf-8"))

    def work(out: TextIO) -> None:
        run_job(job, out, opened)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"peak memory {peak:.1f} GiB", file=out)

    return run_as_child("The inference engine", job.log_path, work)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
