"""The child process of the infer stage: opens the model once, answers, commits small parts.

Started as ``python -m tasks.omni.infer_child JOB``. Prints a line of progress now and then, a
warning, and a user's error as ``error: <sentence>``; all that the libraries print goes to the
job's log. No line names a video or quotes a word.
"""

import os
import resource
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from storage.errors import WaverError
from storage.records import SampleRecord
from storage.results import PredictionRecord
from storage.schema import from_table, read_parquet
from storage.store import Store
from storage.variant import ItemOutput, Variant
from tasks.child import end_with_parent, error_line
from tasks.infer import STAGE, InferJob, infer_samples, wanted_of
from tasks.omni.engine import Engine
from tasks.stage import Shard, make_missing

_SHOW_SECONDS = 5.0
_LOW_ANSWER_MASS = 0.5


class Progress:
    """Counts results as they pass, and prints the rate and the time left every few seconds."""

    def __init__(self, total: int, out: TextIO) -> None:
        self.total = total
        self.out = out
        self.num_done = 0
        self.num_low = 0

    def watch(self, outputs: Iterator[ItemOutput]) -> Iterator[ItemOutput]:
        """Pass results on."""
        begun = shown = time.monotonic()
        for output in outputs:
            self.num_done += 1
            self.num_low += any(_is_low(row) for row in output.rows)
            yield output
            now = time.monotonic()
            if now - shown >= _SHOW_SECONDS or self.num_done == self.total:
                self._show(now - begun)
                shown = now

    def _show(self, seconds: float) -> None:
        rate = self.num_done / max(seconds, 1e-9)
        left = (self.total - self.num_done) / rate
        end = f"about {left:.0f} s left" if self.num_done < self.total else f"in {seconds:.1f} s"
        print(
            f"{self.num_done} of {self.total} segments, {rate:.1f} a second, {end}", file=self.out
        )

    def warn(self) -> None:
        """Say how many answers are no clear Yes or No."""
        if self.num_low:
            print(
                f"warning: in {self.num_low} of {self.num_done} answers Yes and No hold less than "
                f"{_LOW_ANSWER_MASS:.0%} of the probability: the model may not know this question",
                file=self.out,
            )


def _is_low(row: object) -> bool:
    return isinstance(row, PredictionRecord) and row.answer_mass < _LOW_ANSWER_MASS


def run_job(job: InferJob, out: TextIO) -> None:
    """Answer all of a job's samples into its variant."""
    store = Store(job.store_url)
    variant = Variant(store=store, stage=STAGE, variant_id=job.variant_id)
    rows = list(from_table(SampleRecord, read_parquet(job.samples_path)))
    samples = {row.segment_id: row for row in rows}
    progress = Progress(len(rows), out)

    def make(segment_ids: Sequence[str]) -> Iterator[ItemOutput]:
        pending = [samples[segment_id] for segment_id in segment_ids]  # type: ignore[index]
        engine = _open_engine(job, out)
        yield from progress.watch(
            infer_samples(pending, engine, store, job.input, job.resources.num_decoders)
        )

    make_missing(
        variant, Shard(name="all", wanted=wanted_of(rows)), make, job.resources.commit_seconds
    )
    progress.warn()


def _open_engine(job: InferJob, out: TextIO) -> Engine:
    begun = time.monotonic()
    print("opening the model", file=out)
    engine = Engine(
        job.model_path, dtype=job.dtype, max_tokens=job.max_tokens, resources=job.resources
    )
    print(f"model open after {time.monotonic() - begun:.0f} s", file=out)
    return engine


def _quiet(log_path: Path) -> TextIO:
    """Send what any library prints to a log; what is printed on the result reaches the parent."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1, encoding="utf-8")
    with log_path.open("wb") as log:
        os.dup2(log.fileno(), sys.stdout.fileno())
        os.dup2(log.fileno(), sys.stderr.fileno())
    return out


def main(job_path: Path) -> int:
    """Run one job; gives the exit status: 0, 2 for a user's error, 1 for what nobody foresaw."""
    end_with_parent()
    job = InferJob.model_validate_json(job_path.read_text(encoding="utf-8"))
    out = _quiet(job.log_path)
    try:
        run_job(job, out)
    except WaverError as error:
        traceback.print_exc()
        print(error_line(error), file=out)
        return 2
    except Exception as error:  # noqa: BLE001 - its text may quote a person: it stays in the log
        traceback.print_exc()
        print(f"error: The inference engine failed ({type(error).__name__}).", file=out)
        return 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory {peak:.1f} GiB", file=out)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
