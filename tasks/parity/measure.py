"""The same segments through transformers and through vLLM, each in a process of its own."""

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
from tasks.parity.job import SIDES, ParityJob, Side, SidePrediction
from tasks.parity.pooled import PooledFlips, count_flips
from tasks.processes.child_process import run_child
from tasks.processes.error_file import log_path_of
from tasks.prompting.model_input import InputConfig
from tasks.prompting.request_length import longest_request

_STATED = {"float32": 1e-3}  # the contract; in fewer bits, what rounding makes of it
_ROUNDED = 5e-2
KINDS = ("text", "video", "audio")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityRecord:
    """One segment on both sides; ``same_ids`` is about token ids, ``same_media`` about tensors."""

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
    same_ids: bool
    same_media: bool

    def differs_in(self, kind: str) -> bool:
        """Say whether the sides count other numbers of tokens of a kind."""
        on_sides = (getattr(self, f"{kind}_tokens_{side}") for side in SIDES)
        return len(set(on_sides)) > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """What was measured on how many segments; ``num_one_sided`` were refused by one side alone."""

    records: tuple[ParityRecord, ...]
    threshold: float
    dtype: str
    max_difference_allowed: float
    num_faulty: int
    num_one_sided: int
    videos: PooledFlips | None = None

    @property
    def max_difference(self) -> float:
        """The largest difference of p_ah."""
        return max((row.difference for row in self.records), default=0.0)

    @property
    def mean_difference(self) -> float:
        """The mean difference of p_ah."""
        return sum(row.difference for row in self.records) / max(1, len(self.records))

    def faults(self) -> list[str]:
        """Say, in sentences, what makes the two sides unequal; none if they are equal."""
        message = [
            f"{count} of {len(self.records)} segments have other numbers of {kind} tokens: the "
            f"{kind} does not reach the model alike"
            for kind in KINDS
            if (count := sum(row.differs_in(kind) for row in self.records))
        ]
        if count := sum(not row.same_ids for row in self.records):
            message.append(f"{count} of {len(self.records)} segments have other token ids")
        if count := sum(not row.same_media for row in self.records):
            message.append(
                f"{count} of {len(self.records)} segments have other pixels or other sound features"
            )
        if self.num_one_sided:
            message.append(f"{self.num_one_sided} segments are refused by one side alone")
        if self.max_difference > self.max_difference_allowed:
            message.append(
                f"the largest difference of p_ah is {self.max_difference:.1e}, more than the "
                f"{self.max_difference_allowed:.0e} allowed in {self.dtype}"
            )
        return message


def allowed_in(dtype: str) -> float:
    """Say how far apart the sides may be where vLLM computes in a number type."""
    return _STATED.get(dtype, _ROUNDED)


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
    """Ask both sides, one after the other, in the empty ``folder``.

    ``variant`` keeps the log of a side that fails; without one the temporary folder does.

    Raises:
        ModelError: a side cannot open the model.
        StageError: a side failed, or no segment can be asked about.
    """
    samples_path = folder / "samples.parquet"
    write_parquet(to_table(SampleRecord, samples), samples_path)
    jobs = [
        ParityJob(
            side=side,
            store_url=store_url,
            samples_path=samples_path,
            answers_path=folder / f"{side}.parquet",
            model_path=model_path,
            dtype=dtype,
            max_tokens=longest_request(samples, input_config, model_path),
            input=input_config,
            resources=resources,
        )
        for side in SIDES
    ]
    first, second = (_answers_of(job, folder, variant) for job in jobs)
    allowed = allowed_in(dtype) if max_difference is None else max_difference
    parity = compare(first, second, threshold, dtype, allowed)
    paths = (jobs[0].answers_path, jobs[1].answers_path)
    return replace(parity, videos=count_flips(samples_path, paths, plan, threshold))


def _answers_of(job: ParityJob, folder: Path, variant: Variant | None) -> list[SidePrediction]:
    job_path = folder / f"{job.side}.json"
    job_path.write_text(job.model_dump_json(), encoding="utf-8")
    try:
        command = [sys.executable, "-m", "tasks.parity.child", str(job_path)]
        run_child(command, on_line=LOGGER.info, job_path=job_path)
    except WaverError as error:
        log_path = log_path_of(job_path)
        log = variant.keep_log(log_path) if variant else _kept_log(log_path)
        message = f" The libraries' log: {log}" if log else ""
        raise type(error)(f"{error}{message}") from error
    return list(from_table(SidePrediction, read_parquet(job.answers_path)))


def _kept_log(log_path: Path) -> str | None:
    """Keep the libraries' log of a side that failed on drawn segments, whose store goes."""
    if not log_path.is_file():
        return None
    handle, name = tempfile.mkstemp(prefix=f"waver-parity-{log_path.stem}-", suffix=".log")
    with os.fdopen(handle, "wb") as kept:
        kept.write(log_path.read_bytes())
    return name


def compare(
    reference: Sequence[SidePrediction],
    engine: Sequence[SidePrediction],
    threshold: float,
    dtype: str,
    max_difference_allowed: float,
) -> Parity:
    """Lay the sides' answers beside each other.

    Raises:
        StageError: no segment was answered by both.
    """
    others = {row.segment_id: row for row in engine}
    pairs = [(row, others[row.segment_id]) for row in reference]
    both = [pair for pair in pairs if pair[0].fault is None and pair[1].fault is None]
    if not both:
        reasons = sorted({row.fault for pair in pairs for row in pair if row.fault})
        raise StageError(
            f"None of {len(pairs)} segments can be asked about on both sides: "
            f"{reasons[0] if reasons else 'none was given'}"
        )
    num_faulty = sum(a.fault is not None and b.fault is not None for a, b in pairs)
    return Parity(
        records=tuple(_record(a, b, threshold) for a, b in both),
        threshold=threshold,
        dtype=dtype,
        max_difference_allowed=max_difference_allowed,
        num_faulty=num_faulty,
        num_one_sided=len(pairs) - len(both) - num_faulty,
    )


def _record(reference: SidePrediction, engine: SidePrediction, threshold: float) -> ParityRecord:
    first, second = reference.p_ah or 0.0, engine.p_ah or 0.0
    counts = {
        f"{kind}_tokens_{side}": getattr(answer, f"num_{kind}_tokens")
        for kind in KINDS
        for side, answer in _sides(reference, engine)
    }
    return ParityRecord(
        segment_id=reference.segment_id,
        p_ah_transformers=first,
        p_ah_vllm=second,
        difference=abs(first - second),
        flips=(first >= threshold) != (second >= threshold),
        same_ids=reference.ids_digest == engine.ids_digest,
        same_media=(reference.video_digest, reference.audio_digest)
        == (engine.video_digest, engine.audio_digest),
        **counts,
    )


def _sides(reference: SidePrediction, engine: SidePrediction) -> list[tuple[Side, SidePrediction]]:
    return list(zip(SIDES, (reference, engine), strict=True))
