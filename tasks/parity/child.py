"""The child process of one backend in a parity measurement: predicts and writes a table.

vLLM runs as in the infer stage: the same code decodes and prepares segments, in a process beside
the engine. Started as ``python -m tasks.parity.child JOB``.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from storage.errors import ItemFault, ModelError
from storage.records import SampleRecord
from storage.schema import from_table, read_parquet, to_table, write_parquet
from tasks.inference.preparation import DecodeSample, open_preparer
from tasks.parity.job import BackendPrediction, ParityJob
from tasks.parity.processor_features import (
    DigestFeatures,
    open_transformers_processor,
    open_vllm_processor,
)
from tasks.processes.child_frame import run_as_child
from tasks.prompting.model_input import OmniInput
from tasks.prompting.prediction import Prediction

_GIB = 1 << 30

Predictions = Iterator[tuple[SampleRecord, Prediction | ItemFault]]


def run_job(job: ParityJob, out: TextIO) -> None:
    """Predict all samples, then digest what the backend's processor computes from each."""
    samples = list(from_table(SampleRecord, read_parquet(job.samples_path)))
    print(f"{job.backend}: opening the model", file=out)
    predict = _predict_with_vllm if job.backend == "vllm" else _predict_with_transformers
    predictions = dict[str, Prediction | ItemFault]()
    for sample, prediction in predict(job, samples):
        predictions[sample.segment_id] = prediction
        if len(predictions) % 20 == 0 or len(predictions) == len(samples):
            print(f"{job.backend}: {len(predictions)} of {len(samples)} segments", file=out)
    digest_features, decode = _open_processor(job), _decoding(job)
    rows = [
        backend_prediction(sample, predictions[sample.segment_id], decode(sample), digest_features)
        for sample in samples
    ]
    write_parquet(to_table(BackendPrediction, rows), job.predictions_path)


def _decoding(job: ParityJob) -> DecodeSample:
    return DecodeSample(store_url=job.store_url, config=job.input)


def _predict_with_vllm(job: ParityJob, samples: Sequence[SampleRecord]) -> Predictions:
    from tasks.inference.engine import Engine, checked_config

    config = checked_config(
        job.model_path, dtype=job.dtype, max_tokens=job.max_tokens, resources=job.resources
    )
    num_decoders = job.resources.num_decoders
    with open_preparer(
        _decoding(job), config, job.model_path, max_tokens=job.max_tokens,
        num_processes=1 if num_decoders is None else num_decoders,
    ) as prepare:  # fmt: skip
        prepared = prepare(samples, lambda _: None)  # starts while the engine opens
        engine = Engine(
            job.model_path, dtype=job.dtype, max_tokens=job.max_tokens, resources=job.resources,
            config=config,
        )  # fmt: skip
        yield from engine.predict(prepared)


def _predict_with_transformers(job: ParityJob, samples: Sequence[SampleRecord]) -> Predictions:
    from tasks.parity.transformers_baseline import TransformersBaseline

    _check_host_memory(job)
    baseline, decode = TransformersBaseline(job.model_path), _decoding(job)
    for sample in samples:
        inputs = decode(sample)
        yield sample, inputs if isinstance(inputs, ItemFault) else baseline.predict(inputs)


def _check_host_memory(job: ParityJob) -> None:
    from tasks.inference.engine_memory import free_engine_bytes, required_bytes

    required = required_bytes(job.model_path, "float32", job.resources, on_gpu=False)
    free = free_engine_bytes(job.resources, on_gpu=False)
    if required > free:
        raise ModelError(
            f"Transformers needs about {required / _GIB:.1f} GiB for the model "
            f"{str(job.model_path)!r} in float32, but {free / _GIB:.1f} GiB of host memory are "
            "free: measure parity on a host with more."
        )


def _open_processor(job: ParityJob) -> DigestFeatures:
    if job.backend == "vllm":
        return open_vllm_processor(job.model_path, job.max_tokens)
    return open_transformers_processor(job.model_path)


def backend_prediction(
    sample: SampleRecord,
    prediction: Prediction | ItemFault,
    inputs: OmniInput | ItemFault,
    digest_features: DigestFeatures,
) -> BackendPrediction:
    """Combine a prediction with the digests of the same segment's features."""
    if isinstance(prediction, ItemFault) or isinstance(inputs, ItemFault):
        fault = prediction if isinstance(prediction, ItemFault) else inputs
        return BackendPrediction(segment_id=sample.segment_id, rejected=str(fault))
    digests = digest_features(inputs)
    return BackendPrediction(
        segment_id=sample.segment_id,
        p_ah=prediction.p_ah,
        num_text_tokens=prediction.token_counts.num_text_tokens,
        num_video_tokens=prediction.token_counts.num_video_tokens,
        num_audio_tokens=prediction.token_counts.num_audio_tokens,
        ids_digest=digests["ids_digest"],
        video_digest=digests["video_digest"],
        audio_digest=digests["audio_digest"],
    )


def main(job_path: Path) -> int:
    """Run one job; returns the exit status."""

    def work(out: TextIO) -> None:
        run_job(ParityJob.model_validate_json(job_path.read_text(encoding="utf-8")), out)

    return run_as_child(job_path.stem, job_path, work)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
