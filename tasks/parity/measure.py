"""Predictions of transformers and of vLLM for the same segments, each in a child process."""

import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from storage.errors import StageError, WaverError
from storage.records import SampleRecord, SegmentId
from storage.schema import from_table, read_parquet, to_table, write_parquet
from storage.store.variant import Variant
from tasks.evaluation.evaluation import EvaluationPlan
from tasks.inference.settings import InferResources
from tasks.log import LOGGER
from tasks.model.gpu_lock import hold_gpus, names_of_gpus
from tasks.parity.job import BACKENDS, BackendPrediction, ParityJob
from tasks.parity.pooled import PooledFlips, count_flips
from tasks.processes.child_process import run_child
from tasks.processes.error_file import log_path_of
from tasks.prompting.model_input import InputConfig
from tasks.prompting.request_length import longest_request

_MAX_DIFFERENCE = {"float32": 1e-3}
_MAX_DIFFERENCE_ROUNDED = 5e-2  # in number types of fewer bits
KINDS = ("text", "video", "audio")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityRecord:
    """One segment in both backends; ``same_features`` compares pixels and mel features."""

    segment_id: SegmentId
    p_ah_transformers: float
    p_ah_vllm: float
    difference: float
    flips: bool
    text_tokens_transformers: int
    text_tokens_vllm: int
    video_tokens_transformers: int
    video_tokens_vllm: int
    audio_tokens_transformers: int
    audio_tokens_vllm: int
    same_token_ids: bool
    same_features: bool

    def differs_in(self, kind: str) -> bool:
        """Return whether the backends count different numbers of tokens of a kind."""
        counts = {getattr(self, f"{kind}_tokens_{backend}") for backend in BACKENDS}
        return len(counts) > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """A measurement over segments that both backends predicted; others are counted.

    ``num_rejected`` segments were rejected by both, ``num_rejected_by_one`` by one alone.
    """

    records: tuple[ParityRecord, ...]
    threshold: float
    dtype: str
    max_difference_allowed: float
    num_rejected: int
    num_rejected_by_one: int
    videos: PooledFlips | None = None

    @property
    def max_difference(self) -> float:
        """Largest absolute difference of p_ah."""
        return max((row.difference for row in self.records), default=0.0)

    @property
    def mean_difference(self) -> float:
        """Mean absolute difference of p_ah."""
        return sum(row.difference for row in self.records) / max(1, len(self.records))

    def mismatches(self) -> list[str]:
        """Describe what differs between the backends beyond the tolerance; empty if nothing."""
        messages = [
            f"{count} of {len(self.records)} segments have different numbers of {kind} tokens: the "
            f"backends do not get the same {kind}"
            for kind in KINDS
            if (count := sum(row.differs_in(kind) for row in self.records))
        ]
        if count := sum(not row.same_token_ids for row in self.records):
            messages.append(f"{count} of {len(self.records)} segments have different token ids")
        if count := sum(not row.same_features for row in self.records):
            messages.append(
                f"{count} of {len(self.records)} segments have different pixels or audio features"
            )
        if self.num_rejected_by_one:
            messages.append(
                f"{self.num_rejected_by_one} segments are rejected by one backend alone"
            )
        if self.max_difference > self.max_difference_allowed:
            messages.append(
                f"the largest difference of p_ah is {self.max_difference:.1e}, more than the "
                f"{self.max_difference_allowed:.0e} allowed in {self.dtype}"
            )
        return messages


def allowed_in(dtype: str) -> float:
    """Return the tolerated difference of p_ah if vLLM computes in this number type."""
    return _MAX_DIFFERENCE.get(dtype, _MAX_DIFFERENCE_ROUNDED)


def measure_parity(
    samples: Sequence[SampleRecord],
    *,
    store_url: str,
    model_path: Path,
    dtype: str,
    input_config: InputConfig,
    resources: InferResources,
    plan: EvaluationPlan,
    threshold: float,
    folder: Path,
    variant: Variant | None = None,
    max_difference: float | None = None,
) -> Parity:
    """Run both backends, one after the other, in the empty ``folder``, and compare them.

    If a backend fails, its log is kept by ``variant``, else in the system's temporary folder.

    Raises:
        ModelError: a backend cannot open the model.
        StageError: a backend failed, or no segment was predicted by both.
    """
    samples_path = folder / "samples.parquet"
    write_parquet(to_table(SampleRecord, samples), samples_path)
    jobs = [
        ParityJob(
            backend=backend, store_url=store_url, samples_path=samples_path,
            predictions_path=folder / f"{backend}.parquet", model_path=model_path, dtype=dtype,
            max_tokens=longest_request(samples, input_config, model_path), input=input_config,
            resources=resources,
        )
        for backend in BACKENDS
    ]  # fmt: skip
    baseline, engine = (_run_backend(job, folder, variant) for job in jobs)
    allowed = allowed_in(dtype) if max_difference is None else max_difference
    parity = compare(baseline, engine, threshold, dtype, allowed)
    paths = (jobs[0].predictions_path, jobs[1].predictions_path)
    return replace(parity, videos=count_flips(samples_path, paths, plan, threshold))


def _run_backend(job: ParityJob, folder: Path, variant: Variant | None) -> list[BackendPrediction]:
    job_path = folder / f"{job.backend}.json"
    job_path.write_text(job.model_dump_json(), encoding="utf-8")
    try:
        command = [sys.executable, "-m", "tasks.parity.child", str(job_path)]
        with hold_gpus(names_of_gpus(job.resources.num_gpus), "parity") as descriptors:
            run_child(command, on_line=LOGGER.info, job_path=job_path, descriptors=descriptors)
    except WaverError as error:
        log_path = log_path_of(job_path)
        log = variant.keep_log(log_path) if variant else _keep_log(log_path)
        where = f" The libraries' log: {log}" if log else ""
        raise type(error)(f"{error}{where}") from error
    return list(from_table(BackendPrediction, read_parquet(job.predictions_path)))


def _keep_log(log_path: Path) -> str | None:
    """Keep the log of a backend that failed on synthetic segments, whose store is temporary."""
    if not log_path.is_file():
        return None
    handle, name = tempfile.mkstemp(prefix=f"waver-parity-{log_path.stem}-", suffix=".log")
    with os.fdopen(handle, "wb") as file:
        file.write(log_path.read_bytes())
    return name


def compare(
    baseline: Sequence[BackendPrediction],
    engine: Sequence[BackendPrediction],
    threshold: float,
    dtype: str,
    max_difference_allowed: float,
) -> Parity:
    """Compare the predictions of transformers (``baseline``) and vLLM (``engine``).

    Raises:
        StageError: no segment was predicted by both.
    """
    by_id = {row.segment_id: row for row in engine}
    pairs = [(row, by_id[row.segment_id]) for row in baseline]
    both = [pair for pair in pairs if pair[0].rejected is None and pair[1].rejected is None]
    if not both:
        reasons = sorted({row.rejected for pair in pairs for row in pair if row.rejected})
        raise StageError(
            f"None of {len(pairs)} segments was predicted by both backends: "
            f"{reasons[0] if reasons else 'there is none'}"
        )
    num_rejected = sum(a.rejected is not None and b.rejected is not None for a, b in pairs)
    return Parity(
        records=tuple(_record(a, b, threshold) for a, b in both),
        threshold=threshold,
        dtype=dtype,
        max_difference_allowed=max_difference_allowed,
        num_rejected=num_rejected,
        num_rejected_by_one=len(pairs) - len(both) - num_rejected,
    )


def _record(
    baseline: BackendPrediction, engine: BackendPrediction, threshold: float
) -> ParityRecord:
    first, second = baseline.p_ah or 0.0, engine.p_ah or 0.0
    counts = {
        f"{kind}_tokens_{backend}": getattr(prediction, f"num_{kind}_tokens")
        for kind in KINDS
        for backend, prediction in zip(BACKENDS, (baseline, engine), strict=True)
    }
    return ParityRecord(
        segment_id=baseline.segment_id,
        p_ah_transformers=first,
        p_ah_vllm=second,
        difference=abs(first - second),
        flips=(first >= threshold) != (second >= threshold),
        same_token_ids=baseline.ids_digest == engine.ids_digest,
        same_features=(baseline.video_digest, baseline.audio_digest)
        == (engine.video_digest, engine.audio_digest),
        **counts,
    )
