"""Inference of what an ablation's arms lack, by one child process that loads the model once.

A segment that kills the engine is found and rejected as in inference; only that loads the model
again.
"""

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from storage.records import SampleRecord
from storage.schema import to_table, write_parquet
from storage.store.store import Store
from tasks.ablation.arms import ArmSamples
from tasks.ablation.job import AblationJob, ArmJob, key_of, split_key
from tasks.inference.failures import Failures
from tasks.inference.isolation import Crash, predict_all
from tasks.inference.job import run_engines
from tasks.inference.progress import EnginesProgress
from tasks.inference.samples import expected_items
from tasks.inference.settings import STAGE, InferConfig, InferResources
from tasks.log import LOGGER
from tasks.model.model_folder import computed_dtype
from tasks.prompting.request_length import by_length, check_lengths, check_limit, longest_request

CHILD_COMMAND = (sys.executable, "-m", "tasks.ablation.child")
_STAGE = "ablate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ablation:
    """All arms of one model, the one with all modalities first."""

    arms: Sequence[ArmSamples]
    store: Store
    model_path: Path
    config: InferConfig
    resources: InferResources

    def pending(self) -> list[str]:
        """List the keys of segments neither predicted nor rejected, in all arms."""
        return [
            key_of(number, item)
            for number, arm in enumerate(self.arms)
            for item in arm.variant.pending(expected_items(arm.samples))
        ]

    def max_tokens(self, numbers: Iterable[int]) -> int:
        """Return the token limit of the arms' requests: the setting, or a bound on the longest."""
        arms = [self.arms[number] for number in numbers]
        return self.config.max_tokens or max(
            longest_request(arm.samples, arm.arm.input_config, self.model_path) for arm in arms
        )

    def failures(self, number: int) -> Failures:
        """Return an arm's rejected segments and their limit."""
        arm = self.arms[number]
        return Failures(
            stage=STAGE, variant=arm.variant, expected=expected_items(arm.samples),
            samples=arm.samples, input_config=arm.arm.input_config,
            max_fraction=self.config.max_failed_fraction,
            prefix=f"In the arm {arm.arm.name!r} ",
        )  # fmt: skip

    def check_failures(self) -> None:
        """Raise StageError if an arm has more rejected segments than allowed."""
        for number in range(len(self.arms)):
            self.failures(number).check()


def infer_missing(
    arms: Sequence[ArmSamples],
    store: Store,
    model_path: Path,
    config: InferConfig,
    resources: InferResources,
) -> int:
    """Predict all segments that an arm lacks; returns how many those were.

    The model is opened only if something is missing.

    Raises:
        ModelError: the model cannot be opened, or its context is shorter than ``max_tokens``.
        ConfigError: more segments of an arm are longer than ``max_tokens`` than may be rejected.
        StageError: the engine failed, or an arm has too many rejected segments; predictions made
            so far are kept.
    """
    work = Ablation(
        arms=arms, store=store, model_path=model_path, config=config, resources=resources
    )
    pending = work.pending()
    missing = Counter(split_key(key)[0] for key in pending)
    for number, arm in enumerate(arms):
        LOGGER.info(
            "%s: %s: %d expected, %d missing",
            _STAGE, arm.arm.name, len(arm.samples), missing[number],
        )  # fmt: skip
    work.check_failures()
    if pending:
        _check_lengths(work, pending)
        progress = EnginesProgress(_STAGE, len(pending))
        predict_all(work.pending, partial(_run_child, work, progress), partial(_reject, work))
        work.check_failures()
    for number in range(len(arms)):
        work.failures(number).warn()
    return len(pending)


def _check_lengths(work: Ablation, pending: Sequence[str]) -> None:
    """Raise or warn, before the engine opens, if an arm's segments are longer than it accepts."""
    check_limit(work.config.max_tokens, work.model_path)
    by_arm = _by_arm(pending)
    for number, items in by_arm.items():
        arm = work.arms[number]
        check_lengths(
            [sample for sample in arm.samples if sample.segment_id in items],
            arm.arm.input_config,
            work.model_path,
            work.store,
            max_tokens=work.max_tokens(by_arm),
            num_allowed=min(work.failures(number).count_left(), len(arm.samples) - 1),
            prefix=f"in the arm {arm.arm.name!r} ",
        )


def _by_arm(keys: Sequence[str]) -> dict[int, set[str]]:
    by_arm: dict[int, set[str]] = {}
    for number, item in map(split_key, keys):
        by_arm.setdefault(number, set()).add(item)
    return by_arm


def _run_child(
    work: Ablation, progress: EnginesProgress, left: Sequence[str], alone: Sequence[str]
) -> list[Crash]:
    """Run the child once over the segments left; returns its crash, if it died."""
    progress.restart(len(left))
    with work.store.staging() as folder:
        job = _job_of(work, left, alone, folder)
        return run_engines(CHILD_COMMAND, [job], work.arms[0].variant, progress.on_line)


def _job_of(work: Ablation, left: Sequence[str], alone: Sequence[str], folder: Path) -> AblationJob:
    by_arm = _by_arm(left)
    return AblationJob(
        store_url=work.store.url,
        job_path=folder / "ablate.json",
        journal_path=folder / "journal",
        model_path=work.model_path,
        dtype=computed_dtype(work.model_path, work.config.dtype),
        max_tokens=work.max_tokens(by_arm),
        arms=tuple(_arm_job(work, number, items, folder) for number, items in by_arm.items()),
        alone=tuple(alone),
        resources=work.resources.for_one_engine(1, max(len(items) for items in by_arm.values())),
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
        max_failures=work.failures(number).count_left(),
        input=arm.arm.input_config,
    )


def _reject(work: Ablation, reasons: Mapping[str, str]) -> None:
    """Reject the segments that kill the engine, each in its arm."""
    by_arm: dict[int, dict[str, str]] = {}
    for key, reason in reasons.items():
        number, item = split_key(key)
        by_arm.setdefault(number, {})[item] = reason
    for number, of_arm in by_arm.items():
        work.failures(number).reject(of_arm)


infer_arms = task(name=_STAGE, task_run_name="ablate all arms", cache_policy=NO_CACHE)(
    infer_missing
)
