"""What hours of video cost each stage: CPU and GPU seconds, and bytes in the store.

Rates come from the store's own journal; a stage that has none there falls back to the reference
rates below, which the benchmarks measured and which are named as such.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from flows.context.stage_names import STAGES, StageName
from flows.planning.rates import Rate, fit_rate, hours_of, runs_of
from storage.store.journal import StageRun
from tasks.ui_artifacts import format_count

MAX_HOURS = 10_000_000.0
TRAINING: StageName = "finetune"  # once per model, on the labeled videos: not in the total


@dataclass(frozen=True, slots=True, kw_only=True)
class HourlyRate:
    """The cost of an hour of video; ``None`` is unknown, and ``source`` is where it was measured.

    ``fixed_cpu_seconds`` and ``fixed_gpu_seconds`` are those of a run, such as opening a model.
    """

    cpu_seconds: float | None
    gpu_seconds: float | None
    num_bytes: float | None
    source: str
    fixed_cpu_seconds: float = 0.0
    fixed_gpu_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StageCost:
    """The cost of one stage for the hours of an estimate; ``None`` is unknown."""

    stage: str
    rate: HourlyRate
    is_reference: bool
    cpu_seconds: float | None
    gpu_seconds: float | None
    num_bytes: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """The cost of hours of video, by stage and in total, as `waver plan --estimate --json` prints.

    Totals leave out training, and what is unknown: ``unknown`` names those amounts.
    """

    hours: float
    stages: tuple[StageCost, ...]
    cpu_seconds: float
    gpu_seconds: float
    num_bytes: float
    unknown: tuple[str, ...]


# Per hour of video, on two virtual CPU cores (infra/benchmarks/README.md): a 720p25 video cut by
# the segment stage; the sandbox's tiny Whisper; the benchmark's model of 30 small layers at 720
# segments an hour, engine and preparation. A full-size model on a GPU was not measured so far.
_CUT = "reference: a 720p25 video on 2 CPU cores"
_TINY = "reference: a tiny model on 2 CPU cores; a full-size one on a GPU is unknown"
_ROWS = "reference: synthetic rows on 2 CPU cores"
REFERENCE: Mapping[StageName, HourlyRate] = MappingProxyType(
    {
        "segment": HourlyRate(cpu_seconds=490, gpu_seconds=0, num_bytes=230e6, source=_CUT),
        "transcribe": HourlyRate(cpu_seconds=80, gpu_seconds=None, num_bytes=0.24e6, source=_TINY),
        "manifest": HourlyRate(cpu_seconds=0.2, gpu_seconds=0, num_bytes=0.3e6, source=_ROWS),
        "finetune": HourlyRate(
            cpu_seconds=None, gpu_seconds=None, num_bytes=None,
            source="no rate yet: train once, and the journal has it",
        ),
        "infer": HourlyRate(cpu_seconds=37, gpu_seconds=None, num_bytes=0.35e6, source=_TINY),
        "aggregate": HourlyRate(cpu_seconds=0.4, gpu_seconds=0, num_bytes=0.2e6, source=_ROWS),
    }
)  # fmt: skip


def estimate_capacity(runs: Sequence[StageRun], hours: float) -> Capacity:
    """Estimate what hours of video cost, from a store's journal."""
    costs = tuple(_cost(stage, main_runs(runs, stage), hours) for stage in STAGES)
    counted = [cost for cost in costs if cost.stage != TRAINING]
    unknown = [
        f"{kind} seconds of {cost.stage}"
        for cost in counted
        for kind, value in (("CPU", cost.cpu_seconds), ("GPU", cost.gpu_seconds))
        if value is None
    ]
    return Capacity(
        hours=hours,
        stages=costs,
        cpu_seconds=sum(cost.cpu_seconds or 0 for cost in counted),
        gpu_seconds=sum(cost.gpu_seconds or 0 for cost in counted),
        num_bytes=sum(cost.num_bytes or 0 for cost in counted),
        unknown=tuple(unknown),
    )


def _cost(stage: StageName, runs: Sequence[StageRun], hours: float) -> StageCost:
    rate = measured_rate(runs) or REFERENCE[stage]
    return StageCost(
        stage=stage,
        rate=rate,
        is_reference=rate is REFERENCE[stage],
        cpu_seconds=_times(rate.cpu_seconds, hours, rate.fixed_cpu_seconds),
        gpu_seconds=_times(rate.gpu_seconds, hours, rate.fixed_gpu_seconds),
        num_bytes=_times(rate.num_bytes, hours, 0.0),
    )


def main_runs(runs: Sequence[StageRun], stage: str) -> list[StageRun]:
    """Return a stage's newest runs of the variant that most video went through lately.

    Other settings, such as another model, have other rates.
    """
    newest = runs_of(runs, stage, None)
    hours: Counter[str] = Counter()
    for run in newest:
        hours[run.variant_id] += run.video_ms
    return [run for run in newest if run.variant_id == max(hours, key=lambda name: hours[name])]


def _times(per_hour: float | None, hours: float, fixed: float) -> float | None:
    return None if per_hour is None else fixed + per_hour * hours


def measured_rate(runs: Sequence[StageRun]) -> HourlyRate | None:
    """Return the rate of a stage's runs; ``None`` if none of them worked on video."""
    cpu = fit_rate(runs, hours_of, lambda run: run.cpu_seconds)
    gpu = fit_rate(runs, hours_of, lambda run: run.seconds * run.num_gpus)
    size = fit_rate(runs, hours_of, lambda run: float(run.bytes_written))
    if gpu is None or size is None:
        return None
    hours = sum(map(hours_of, runs))
    return HourlyRate(
        cpu_seconds=_per_unit(cpu),
        gpu_seconds=gpu.per_unit,
        num_bytes=size.per_unit,
        source=f"{format_count(gpu.num_runs, 'runs')} of this store on {hours:.3g} h of video",
        fixed_cpu_seconds=cpu.fixed if cpu else 0.0,
        fixed_gpu_seconds=gpu.fixed,
    )


def _per_unit(rate: Rate | None) -> float | None:
    return None if rate is None else rate.per_unit
