"""The child process of one side of a parity measurement: opens the model, answers, writes a table.

vLLM is asked as the infer stage asks it: segments are decoded and prepared by a process beside the
engine, with the same code, and come to the engine the same way. Started as ``python -m
tasks.parity.child JOB``.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from storage.errors import ItemFault, ModelError
from storage.records import SampleRecord
from storage.schema import from_table, read_parquet, to_table, write_parquet
from tasks.inference.preparation import DecodeSample, open_preparer
from tasks.parity.job import ParityJob, SidePrediction
from tasks.parity.reading import (
    Reader,
    Reading,
    open_transformers_reader,
    open_vllm_reader,
)
from tasks.processes.child_frame import run_as_child
from tasks.prompting.model_input import OmniInput
from tasks.prompting.prediction import Prediction

_GIB = 1 << 30

Told = Iterator[tuple[SampleRecord, Prediction | ItemFault]]


def answer_job(job: ParityJob, out: TextIO) -> None:
    """Answer all samples, then read them once more to know what the model was given."""
    samples = list(from_table(SampleRecord, read_parquet(job.samples_path)))
    print(f"{job.side}: opening the model", file=out)
    message = dict[str, Prediction | ItemFault]()
    answers = _by_vllm if job.side == "vllm" else _by_transformers
    for sample, answer in answers(job, samples):
        message[sample.segment_id] = answer
        if len(message) % 20 == 0 or len(message) == len(samples):
            print(f"{job.side}: {len(message)} of {len(samples)} segments", file=out)
    read, decode = _open_reader(job), _decoding(job)
    rows = [
        side_answer(sample, message[sample.segment_id], decode(sample), read) for sample in samples
    ]
    write_parquet(to_table(SidePrediction, rows), job.answers_path)


def _decoding(job: ParityJob) -> DecodeSample:
    return DecodeSample(store_url=job.store_url, config=job.input)


def _by_vllm(job: ParityJob, samples: Sequence[SampleRecord]) -> Told:
    from tasks.inference.engine import Engine, checked_config

    config = checked_config(
        job.model_path, dtype=job.dtype, max_tokens=job.max_tokens, resources=job.resources
    )
    expected = job.resources.num_decoders
    with open_preparer(
        _decoding(job), config, job.model_path, max_tokens=job.max_tokens,
        num_processes=1 if expected is None else expected,
    ) as questions:  # fmt: skip
        asked = questions(samples, lambda _: None)  # prepared while the engine opens
        engine = Engine(
            job.model_path, dtype=job.dtype, max_tokens=job.max_tokens, resources=job.resources,
            config=config,
        )  # fmt: skip
        yield from engine.predict(asked)


def _by_transformers(job: ParityJob, samples: Sequence[SampleRecord]) -> Told:
    from tasks.parity.transformers_baseline import TransformersBaseline

    _check_host_memory(job)
    reference, decode = TransformersBaseline(job.model_path), _decoding(job)
    for sample in samples:
        question = decode(sample)
        yield sample, question if isinstance(question, ItemFault) else reference.answer(question)


def _check_host_memory(job: ParityJob) -> None:
    from tasks.inference.engine_memory import free_engine_bytes, required_bytes

    needed = required_bytes(job.model_path, "float32", job.resources, on_gpu=False)
    free = free_engine_bytes(job.resources, on_gpu=False)
    if needed > free:
        raise ModelError(
            f"Transformers needs about {needed / _GIB:.1f} GiB for the model "
            f"{str(job.model_path)!r} in float32, but the host has {free / _GIB:.1f} GiB for it: "
            "measure parity on a machine with more."
        )


def _open_reader(job: ParityJob) -> Reader:
    if job.side == "vllm":
        return open_vllm_reader(job.model_path, job.max_tokens)
    return open_transformers_reader(job.model_path)


def side_answer(
    sample: SampleRecord,
    answer: Prediction | ItemFault,
    inputs: OmniInput | ItemFault,
    read: Reader,
) -> SidePrediction:
    """Lay an answer beside what the side's own processor made of the same segment."""
    if isinstance(answer, ItemFault) or isinstance(inputs, ItemFault):
        fault = answer if isinstance(answer, ItemFault) else inputs
        return SidePrediction(segment_id=sample.segment_id, fault=str(fault))
    reading: Reading = read(inputs)
    return SidePrediction(
        segment_id=sample.segment_id,
        p_ah=answer.p_ah,
        num_text_tokens=answer.token_counts.num_text_tokens,
        num_video_tokens=answer.token_counts.num_video_tokens,
        num_audio_tokens=answer.token_counts.num_audio_tokens,
        ids_digest=reading["ids_digest"],
        video_digest=reading["video_digest"],
        audio_digest=reading["audio_digest"],
    )


def main(job_path: Path) -> int:
    """Run one job; returns the exit status."""

    def work(out: TextIO) -> None:
        answer_job(ParityJob.model_validate_json(job_path.read_text(encoding="utf-8")), out)

    return run_as_child(job_path.stem, job_path, work)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
