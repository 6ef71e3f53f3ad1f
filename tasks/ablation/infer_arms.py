"""Asking what is missing of an ablation's arms: one child process, one open model for all.

A segment on which the engine dies is found and rejected as in inference; the model is opened again
for that, and for nothing else.
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
            for item in arm.variant.pending(expected_items(arm.samples))
        ]

    def max_tokens(self, numbers: Iterable[int]) -> int:
        """How many tokens a request of some arms may hold: as stated, or the longest's bound."""
        arms = [self.arms[number] for number in numbers]
        return self.config.max_tokens or max(
            longest_request(arm.samples, arm.arm.input_config, self.model_path) for arm in arms
        )

    def failures(self, number: int) -> Failures:
        """Say what is rejected in an arm, and may be."""
        arm = self.arms[number]
        return Failures(
            stage=STAGE, variant=arm.variant, expected=expected_items(arm.samples), samples=arm.samples,
            input_config=arm.arm.input_config, max_fraction=self.config.max_failed_fraction,
            whose=f"In the arm {arm.arm.name!r} ",
        )  # fmt: skip

    def check_failures(self) -> None:
        """Stop where an arm rejects more than it may; raises StageError."""
        for number in range(len(self.arms)):
            self.failures(number).check()


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
        ModelError: the model cannot be opened, or takes no ``max_tokens``.
        ConfigError: more segments of an arm make more tokens than that than may be rejected.
        StageError: the engine failed, or an arm rejects more than it may; answers are kept.
    """
    work = Ablation(
        arms=arms, store=store, model_path=model_path, config=config, resources=resources
    )
    pending = work.pending()
    missing = Counter(split_key(key)[0] for key in pending)
    for number, arm in enumerate(arms):
        LOGGER.info(
            "%s: %s: %d wanted, %d missing",
            _STAGE, arm.arm.name, len(arm.samples), missing[number],
        )  # fmt: skip
    work.check_failures()
    if pending:
        _check_lengths(work, pending)
        progress = EnginesProgress(_STAGE, len(pending))
        predict_all(work.pending, partial(_ask, work, progress), partial(_reject, work))
        work.check_failures()
    for number in range(len(arms)):
        work.failures(number).tell()
    return len(pending)


def _check_lengths(work: Ablation, pending: Sequence[str]) -> None:
    """Refuse or warn, before the engine opens, where an arm holds longer segments than it takes."""
    check_limit(work.config.max_tokens, work.model_path)
    asked = _by_arm(pending)
    for number, items in asked.items():
        arm = work.arms[number]
        check_lengths(
            [sample for sample in arm.samples if sample.segment_id in items],
            arm.arm.input_config,
            work.model_path,
            work.store,
            max_tokens=work.max_tokens(asked),
            num_allowed=min(work.failures(number).num_left, len(arm.samples) - 1),
            whose=f"in the arm {arm.arm.name!r} ",
        )


def _by_arm(keys: Sequence[str]) -> dict[int, set[str]]:
    asked: dict[int, set[str]] = {}
    for number, item in map(split_key, keys):
        asked.setdefault(number, set()).add(item)
    return asked


def _ask(
    work: Ablation, progress: EnginesProgress, left: Sequence[str], alone: Sequence[str]
) -> list[Crash]:
    """Run the child once over what is left; gives how it died, if it did."""
    progress.restart(len(left))
    with work.store.staging() as folder:
        job = _job_of(work, left, alone, folder)
        return run_engines(CHILD_COMMAND, [job], work.arms[0].variant, progress.on_line)


def _job_of(work: Ablation, left: Sequence[str], alone: Sequence[str], folder: Path) -> AblationJob:
    asked = _by_arm(left)
    return AblationJob(
        store_url=work.store.url,
        job_path=folder / "ablate.json",
        journal_path=folder / "journal",
        model_path=work.model_path,
        dtype=computed_dtype(work.model_path, work.config.dtype),
        max_tokens=work.max_tokens(asked),
        arms=tuple(_arm_job(work, number, items, folder) for number, items in asked.items()),
        alone=tuple(alone),
        resources=work.resources.of_one(1, max(len(items) for items in asked.values())),
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
        max_failures=work.failures(number).num_left,
        input=arm.arm.input_config,
    )


def _reject(work: Ablation, reasons: Mapping[str, str]) -> None:
    """Give the segments on which the engine dies their rejected rows, each in its arm."""
    by_arm: dict[int, dict[str, str]] = {}
    for key, reason in reasons.items():
        number, item = split_key(key)
        by_arm.setdefault(number, {})[item] = reason
    for number, of_arm in by_arm.items():
        work.failures(number).reject(of_arm)


infer_arms_task = task(name=_STAGE, task_run_name="ablate all arms", cache_policy=NO_CACHE)(
    ask_missing
)
