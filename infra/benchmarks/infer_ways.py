"""Ways to predict the same segments with the same model, each measured in a separate process.

``python -m infra.benchmarks.infer_ways WAY JOB`` prints its measurements as one line of JSON.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from storage.errors import ItemFault
from storage.records import SampleRecord
from storage.schema import from_table, read_parquet
from tasks.inference.child import open_job, run_job
from tasks.inference.engine import Engine, read_answer_token_ids
from tasks.inference.engine_settings import engine_options, set_environment
from tasks.inference.job import InferJob
from tasks.inference.preparation import DecodeSample, RequestPreparer
from tasks.inference.requests import Renderer, Request
from tasks.prompting.model_input import OmniInput, to_model_batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Measurements of one way, from an open model to its last prediction.

    ``idle_fraction`` is the fraction of that time in which the engine had no request.
    ``thread_seconds`` are the CPU seconds of the thread that steps the engine, ``cpu_seconds``
    those of all threads of its process; other programs do not add to them.
    """

    num_segments: int
    seconds: float
    thread_seconds: float
    cpu_seconds: float
    idle_fraction: float
    open_seconds: float
    peak_mib: float

    @property
    def rate(self) -> float:
        """Segments per second."""
        return self.num_segments / self.seconds


class Clock:
    """Measures wall-clock and CPU seconds since it was created."""

    def __init__(self) -> None:
        self._started = self._now()

    @staticmethod
    def _now() -> tuple[float, float, float]:
        used = resource.getrusage(resource.RUSAGE_SELF)
        return time.monotonic(), time.thread_time(), used.ru_utime + used.ru_stime

    def read(self) -> tuple[float, float, float]:
        """Return wall-clock seconds, and CPU seconds of this thread and of the whole process."""
        now = self._now()
        return now[0] - self._started[0], now[1] - self._started[1], now[2] - self._started[2]


def measure_waver(job: InferJob, out: TextIO) -> Measured:
    """The stage's child process: decoding, preparing, predicting, and commits to the store."""
    found: list[tuple[Engine, float, Clock]] = []
    opening = Clock()

    @contextmanager
    def timed(job: InferJob, out: TextIO) -> Iterator[tuple[RequestPreparer, Callable[[], Engine]]]:
        with open_job(job, out) as (questions, open_engine):

            def open_timed() -> Engine:
                engine = open_engine()
                found.append((engine, opening.read()[0], Clock()))
                return engine

            yield questions, open_timed

    run_job(job, out, timed)
    ((engine, open_seconds, predicting),) = found
    spent = predicting.read()
    return _measured(job, spent, open_seconds, engine.idle_seconds / spent[0])


def measure_bare(job: InferJob, _: TextIO) -> Measured:
    """vLLM's LLM alone: all requests are prepared beforehand and added at once.

    This is what its `generate` does after rendering its prompts.
    """
    opening = Clock()
    on_gpu = set_environment(job.resources)
    options = engine_options(job.model_path, job.dtype, job.max_tokens, job.resources, on_gpu)
    from vllm import LLM, SamplingParams

    llm = LLM(**options)
    open_seconds, *_rest = opening.read()
    renderer = Renderer(llm.renderer, job.model_path, job.max_tokens)
    requests = [renderer.render(inputs) for inputs in _decoded(job)]
    ids = [*read_answer_token_ids(job.model_path)]
    sampling = SamplingParams(
        temperature=0, max_tokens=1, allowed_token_ids=ids, logprob_token_ids=ids, detokenize=False
    )
    stepping = Clock()
    _run_to_end(llm.llm_engine, requests, sampling)
    return _measured(job, stepping.read(), open_seconds, 0.0)


def measure_bare_on_all_cores(job: InferJob, out: TextIO) -> Measured:
    """The engine alone, also on the cores that otherwise decode and prepare for it."""
    cores = len(os.sched_getaffinity(0))
    resources = job.resources.model_copy(update={"cpu_threads": cores})
    return measure_bare(job.model_copy(update={"resources": resources}), out)


def _run_to_end(engine: Any, requests: list[Request], sampling: Any) -> None:
    for number, request in enumerate(requests):
        engine.add_request(str(number), request.rendered, sampling)
    while engine.has_unfinished_requests():
        engine.step()


def measure_one_by_one(job: InferJob, _: TextIO) -> Measured:
    """The paper's way: transformers' generate, one segment at a time, with decoding."""
    import torch
    from transformers import AutoProcessor, Qwen3OmniMoeForConditionalGeneration

    opening = Clock()
    processor = AutoProcessor.from_pretrained(job.model_path)
    model = Qwen3OmniMoeForConditionalGeneration.from_pretrained(
        job.model_path, dtype=getattr(torch, job.dtype), use_safetensors=True
    )
    thinker = model.thinker.eval().to("cuda" if torch.cuda.is_available() else "cpu")
    open_seconds, *_rest = opening.read()
    predicting = Clock()
    for inputs in _decoded(job):
        batch = to_model_batch(processor, [inputs])
        moved = {name: tensor.to(thinker.device) for name, tensor in batch.items()}
        thinker.generate(**moved, max_new_tokens=1, do_sample=False)
    return _measured(job, predicting.read(), open_seconds, 0.0)


def _decoded(job: InferJob) -> Iterator[OmniInput]:
    decode = DecodeSample(store_url=job.store_url, config=job.input)
    for sample in _samples(job):
        inputs = decode(sample)
        if not isinstance(inputs, ItemFault):
            yield inputs


def _samples(job: InferJob) -> list[SampleRecord]:
    return list(from_table(SampleRecord, read_parquet(job.samples_path)))


def _measured(
    job: InferJob, spent: tuple[float, float, float], open_seconds: float, idle_fraction: float
) -> Measured:
    seconds, thread_seconds, cpu_seconds = spent
    return Measured(
        num_segments=len(_samples(job)),
        seconds=seconds,
        thread_seconds=thread_seconds,
        cpu_seconds=cpu_seconds,
        idle_fraction=idle_fraction,
        open_seconds=open_seconds,
        peak_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    )


WAYS: Mapping[str, Callable[[InferJob, TextIO], Measured]] = {
    "waver": measure_waver,
    "bare": measure_bare,
    "bare on all cores": measure_bare_on_all_cores,
    "one by one": measure_one_by_one,
}


def main(way: str, job_path: Path) -> None:
    """Measure one way and print its measurements last."""
    job = InferJob.model_validate_json(job_path.read_text(encoding="utf-8"))
    measured = WAYS[way](job, sys.stderr)
    print(json.dumps(asdict(measured)))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
