"""The child process of an ablation: opens the model once, and answers arm after arm.

Started as ``python -m tasks.ablation.child JOB``. Answers are committed in small parts, as in
inference. No line names a video or quotes a word.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from storage.records import SampleRecord
from storage.schema import from_table, read_parquet
from storage.store import Store
from storage.variant import ItemOutput, Variant
from tasks.ablation.job import AblationJob, ArmJob
from tasks.child_main import run_as_child
from tasks.infer import infer_samples, wanted_of
from tasks.omni.engine import Engine, engine_config, read_answer_ids
from tasks.omni.engine_settings import engine_options, set_environment
from tasks.omni.isolation import Journal
from tasks.omni.memory import check_engine_memory
from tasks.omni.questions import Decoding, open_questions
from tasks.omni.workers import num_workers_for
from tasks.stage import Shard, make_missing

_SHOW_SECONDS = 5.0


def run_job(job: AblationJob, out: TextIO) -> None:
    """Answer what is missing of every arm, with one engine."""
    store = Store(job.store_url)
    engine, config = _open_engine(job, out)
    for arm in job.arms:
        _run_arm(job, arm, store, engine, config, out)


def _open_engine(job: AblationJob, out: TextIO) -> tuple[Engine, Any]:
    """Open the engine; gives a configuration like its own, by which requests are prepared.

    Its own holds the open model and cannot be sent to other processes any more.
    """
    begun = time.monotonic()
    print("opening the model", file=out)
    on_gpu = set_environment(job.resources)
    read_answer_ids(job.model_path)  # before the half minute that opening takes
    check_engine_memory(job.model_path, job.dtype, job.resources, on_gpu=on_gpu)
    options = engine_options(job.model_path, job.dtype, job.max_tokens, job.resources, on_gpu)
    config = engine_config(options)
    engine = Engine(
        job.model_path, dtype=job.dtype, max_tokens=job.max_tokens, resources=job.resources
    )
    print(f"model open after {time.monotonic() - begun:.0f} s", file=out)
    return engine, config


def _run_arm(
    job: AblationJob, arm: ArmJob, store: Store, engine: Engine, config: Any, out: TextIO
) -> None:
    rows = list(from_table(SampleRecord, read_parquet(arm.samples_path)))
    variant = Variant(store=store, stage=arm.stage, variant_id=arm.variant_id)

    def make(segment_ids: Sequence[str]) -> Iterator[ItemOutput]:
        missing = set(segment_ids)
        pending = [row for row in rows if row.segment_id in missing]
        with (
            open_questions(
                Decoding(store_url=store.url, config=arm.input),
                config,
                job.model_path,
                max_tokens=job.max_tokens,
                num_processes=num_workers_for(job.resources.num_decoders, len(pending)),
            ) as questions,
            Journal(arm.samples_path.with_suffix(".journal")) as journal,
        ):
            answers = infer_samples(pending, engine, questions, journal)
            yield from _shown(answers, arm.name, len(pending), out)

    shard = Shard(name=arm.name, wanted=wanted_of(rows))
    make_missing(variant, shard, make, job.resources.commit_seconds)


def _shown(
    outputs: Iterator[ItemOutput], name: str, total: int, out: TextIO
) -> Iterator[ItemOutput]:
    """Pass answers on, and print how many there are now and then."""
    begun = shown = time.monotonic()
    for number, output in enumerate(outputs, start=1):
        yield output
        now = time.monotonic()
        if now - shown >= _SHOW_SECONDS or number == total:
            rate = number / max(now - begun, 1e-9)
            print(f"{name}: {number} of {total} segments, {rate:.1f} a second", file=out)
            shown = now


if __name__ == "__main__":
    told_job = AblationJob.model_validate_json(Path(sys.argv[1]).read_text(encoding="utf-8"))
    sys.exit(run_as_child("the ablation", told_job.log_path, partial(run_job, told_job)))
