"""Running one stage: its items dealt into shards, waited for, and what came of them told."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from prefect import State
from prefect.artifacts import create_table_artifact
from prefect.futures import PrefectFuture, wait
from prefect.states import Completed

from flows.context.request import StageName
from flows.context.run_context import Run
from storage.errors import StageError, WaverError
from storage.records import RejectedRecord
from storage.store.variant import Variant
from tasks.log import LOGGER
from tasks.processes.group import allow_children, stop_children
from tasks.stage import Shard, ShardResult, split_into_shards


@dataclass(frozen=True, slots=True, kw_only=True)
class StageReport:
    """What a stage found there, made and rejected; ``seconds`` is its wall time."""

    stage: str
    variant_id: str
    num_expected: int
    num_cached: int
    num_computed: int
    num_rejected: int
    seconds: float

    @property
    def is_cached(self) -> bool:
        """True if the stage had nothing to make."""
        return self.num_computed == 0


def run_stage(
    run: Run,
    stage: StageName,
    variant: Variant,
    expected: Mapping[str, str],
    submit: Callable[[Shard], PrefectFuture[Any]],
    shard_size: int,
) -> State[StageReport]:
    """Deal a stage's items into shards, wait for all of them, and report.

    The state is named Cached where nothing had to be made. One failed shard does not stop the
    others; its error is raised when all have ended.
    """
    started = time.monotonic()
    if stage in run.request.force:
        variant.invalidate(expected)
    shards = split_into_shards(expected, shard_size)
    LOGGER.info("%s: %d wanted, shards: %d", stage, len(expected), len(shards))
    futures = wait_for([partial(submit, shard) for shard in shards])
    results = [result_of(stage, future.state) for future in futures]
    rejected = variant.read(RejectedRecord, expected)
    report = StageReport(
        stage=stage,
        variant_id=variant.variant_id,
        num_expected=len(expected),
        num_cached=sum(result.num_cached for result in results),
        num_computed=sum(result.num_computed for result in results),
        num_rejected=len(rejected),
        seconds=time.monotonic() - started,
    )
    _show(report, rejected)
    return Completed(name="Cached" if report.is_cached else "Completed", data=report)


def wait_for(submits: Sequence[Callable[[], PrefectFuture[Any]]]) -> list[PrefectFuture[Any]]:
    """Wait for all tasks; a run that is stopped ends what it started, and does not wait for it."""
    allow_children()
    try:
        futures = [submit() for submit in submits]
        wait(futures)
    except BaseException:  # Ctrl-C, or Prefect's word for SIGTERM
        stop_children()
        raise
    return futures


def result_of(stage: str, state: State[Any]) -> ShardResult:
    """Give a shard's result, or raise why it failed."""
    if state.is_completed():
        return state.result()
    error = state.result(raise_on_failure=False)
    if isinstance(error, WaverError):
        raise error
    raise StageError(f"Stage {stage!r} did not finish: {error!r}.") from (
        error if isinstance(error, BaseException) else None
    )


def _show(report: StageReport, rejected: list[RejectedRecord]) -> None:
    """Put the stage's result table, and what it rejected, into the Prefect UI."""
    create_table_artifact(
        key=f"{report.stage}-result",
        table=[
            {
                "wanted": report.num_expected,
                "there already": report.num_cached,
                "made": report.num_computed,
                "rejected": report.num_rejected,
                "seconds": round(report.seconds, 1),
                "variant": report.variant_id,
            }
        ],
        description=f"What stage {report.stage} found there, made and rejected.",
    )
    if rejected:
        create_table_artifact(
            key=f"{report.stage}-rejected",
            table=[{"row": row.item_id, "reason": row.reason} for row in rejected],
            description=f"What stage {report.stage} could not use, and why.",
        )
    LOGGER.info(
        "%s: %d there, %d made, %d rejected in %.1f s",
        report.stage, report.num_cached, report.num_computed, report.num_rejected, report.seconds,
    )  # fmt: skip
