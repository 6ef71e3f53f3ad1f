"""Asking what is missing of an ablation's arms: one child process, one open model for all.

A segment on which the engine dies is found and rejected as in inference; the model is opened again
for that, and for nothing else.
"""

import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from storage.errors import CrashError, StageError, WaverError
from storage.records import RejectedRecord, SampleRecord
from storage.results import PredictionRecord
from storage.schema import to_table, write_parquet
from storage.store import Store
from storage.variant import ItemOutput
from tasks.ablation.arms import ArmSamples
from tasks.ablation.job import AblationJob, ArmJob, key_of, split_key
from tasks.child import run_worker
from tasks.infer import InferConfig, InferResources, wanted_of
from tasks.log import LOGGER
from tasks.omni.checkpoint import stored_dtype
from tasks.omni.damaged import count_damaged, damage_told, failures_told
from tasks.omni.isolation import Crash, ask_all, in_flight
from tasks.omni.lengths import by_length, longest_request
from tasks.stage import Shard, make_missing

CHILD_COMMAND = (sys.executable, "-m", "tasks.ablation.child")
_STAGE = "ablate"
_FEW = 10  # so many segments of an arm may be rejected, whatever share they are


@dataclass(frozen=True, slots=True, kw_only=True)
class Ablation:
    """What is asked: all arms, the whole first, of one model."""

    arms: Sequence[ArmSamples]
    store: Store
    model_path: Path
    config: InferConfig
    resources: InferResources

    def pending(self) -> list[str]:
        """List what has neither an answer nor a reason, in all arms."""
        return [
            key_of(number, item)
            for number, arm in enumerate(self.arms)
            for item in arm.variant.pending(wanted_of(arm.samples))
        ]


def ask_missing(
    arms: Sequence[ArmSamples],
    store: Store,
    model_path: Path,
    config: InferConfig,
    resources: InferResources,
) -> int:
    """Ask about all segments that lack an answer in an arm; gives how many those were.

    No model is opened where nothing is missing.

    Raises:
        ModelError: the model cannot be opened.
        StageError: the engine failed, or an arm rejects more than it may; answers are kept.
    """
    work = Ablation(
        arms=arms, store=store, model_path=model_path, config=config, resources=resources
    )
    pending = work.pending()
    missing = Counter(split_key(key)[0] for key in pending)
    for number, arm in enumerate(arms):
        _tell(f"{arm.arm.name}: {len(arm.samples)} wanted, {missing[number]} missing")
    if pending:
        ask_all(work.pending, partial(_ask, work), partial(_reject, work))
    for arm in arms:
        _check_failures(arm, config)
    return len(pending)


def _ask(work: Ablation, left: Sequence[str], alone: Sequence[str]) -> list[Crash]:
    """Run the child once over what is left; gives how it died, if it did."""
    with work.store.staging() as folder:
        job = _job_of(work, left, alone, folder)
        job_path = folder / "job.json"
        job_path.write_text(job.model_dump_json(), encoding="utf-8")
        try:
            run_worker([*CHILD_COMMAND, str(job_path)], on_line=_tell)
        except WaverError as error:
            told = type(error)(str(error) + _kept_log(job, work))
            if isinstance(told, CrashError):
                return [Crash(error=told, in_flight=in_flight(job.journal_path))]
            raise told from error
    return []


def _job_of(work: Ablation, left: Sequence[str], alone: Sequence[str], folder: Path) -> AblationJob:
    asked: dict[int, set[str]] = {}
    for number, item in map(split_key, left):
        asked.setdefault(number, set()).add(item)
    arms = [work.arms[number] for number in asked]
    bounds = [longest_request(a.samples, a.arm.input_config, work.model_path) for a in arms]
    dtype = work.config.dtype
    return AblationJob(
        store_url=work.store.url,
        log_path=folder / "engine.log",
        journal_path=folder / "journal",
        model_path=work.model_path,
        dtype=stored_dtype(work.model_path) if dtype == "auto" else dtype,
        max_tokens=work.config.max_tokens or max(bounds),
        arms=tuple(_arm_job(work, number, items, folder) for number, items in asked.items()),
        alone=tuple(alone),
        resources=work.resources,
    )


def _arm_job(work: Ablation, number: int, items: set[str], folder: Path) -> ArmJob:
    arm, samples_path = work.arms[number], folder / f"arm-{number}.parquet"
    samples = [sample for sample in arm.samples if sample.segment_id in items]
    ordered = by_length(samples, arm.arm.input_config, work.model_path)
    write_parquet(to_table(SampleRecord, ordered), samples_path)
    return ArmJob(
        number=number,
        name=arm.arm.name,
        stage=arm.variant.stage,
        variant_id=arm.variant.variant_id,
        samples_path=samples_path,
        input=arm.arm.input_config,
    )


def _kept_log(job: AblationJob, work: Ablation) -> str:
    """Keep the engine's log of a child that failed; gives the words that name it."""
    if not job.log_path.is_file():
        return ""
    kept = f"{work.arms[0].variant.path}/logs/{time.strftime('%Y%m%dT%H%M%S')}-ablate.log"
    work.store.publish(job.log_path, kept)
    return f" The engine's log: {work.store.full_path(kept)}"


def _reject(work: Ablation, culprits: Mapping[str, CrashError]) -> None:
    """Give the segments on which the engine dies their rejected rows."""
    for key, error in culprits.items():
        number, item = split_key(key)
        arm = work.arms[number]
        LOGGER.warning("%s: %s: the engine dies on a segment, rejected", _STAGE, arm.arm.name)
        wanted = {item: wanted_of(arm.samples)[item]}
        make_missing(arm.variant, Shard(name="dead", wanted=wanted), partial(_dead, error))


def _dead(error: CrashError, items: Sequence[str]) -> Iterator[ItemOutput]:
    told = str(error).splitlines()[0].partition(";")[0]
    for item in items:
        row = RejectedRecord(
            item_id=item, stage=_STAGE, reason=f"the engine died on it twice: {told}"
        )
        yield ItemOutput(item_id=item, rows=(row,))


def _check_failures(arm: ArmSamples, config: InferConfig) -> None:
    wanted = wanted_of(arm.samples)
    rejected = arm.variant.read(RejectedRecord, wanted)
    rows = arm.variant.read(PredictionRecord, wanted)
    damaged = count_damaged(rows, arm.samples, arm.arm.input_config)
    if told := damage_told(*damaged, len(rows)):
        LOGGER.warning("%s: %s: %s", _STAGE, arm.arm.name, told)
    allowed = max(_FEW, int(config.max_failed_share * len(arm.samples)))
    if len(rejected) + sum(damaged) > allowed:
        reasons = Counter(row.reason for row in rejected).most_common(1) or [("damaged media", 0)]
        counted = failures_told(len(rejected), sum(damaged), len(arm.samples))
        raise StageError(
            f"In the arm {arm.arm.name!r} {counted}, expected at most {allowed}, most often for: "
            f"{reasons[0][0]}. See to their cause, or raise infer.max_failed_share."
        )


def _tell(line: str) -> None:
    if not line.startswith("error: "):  # that one is raised
        LOGGER.info("%s: %s", _STAGE, line)


ask_arms = task(name=_STAGE, task_run_name="ablate all arms", cache_policy=NO_CACHE)(ask_missing)
