"""The one function that runs any stage: shards submitted, waited for, reported."""

import time
from collections.abc import Callable
from typing import Any

from prefect import State, task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from flows.context.context import Context
from flows.context.partition import partition_of
from flows.context.stage_names import StageName
from flows.running.holding import holding
from flows.running.outcome import reason_of
from flows.running.progress import follow
from flows.running.record import journaled
from flows.running.show import show_result
from flows.running.stage import Stage, StageReport
from flows.running.submit import submit_shards
from flows.running.summary import count_reasons
from storage.errors import StageError, WaverError
from storage.records import RejectedRecord
from tasks.log import LOGGER
from tasks.stage import ShardResult, as_state
from tasks.ui_artifacts import format_count

_NUM_LISTED = 10  # rejected items in a stage's report; its table has all


def run_stage(stage: Stage, context: Context) -> StageReport:
    """Run a stage's shards, wait for all of them, and report.

    A failed shard does not stop the others; its error is raised when all have ended.
    """
    started = time.monotonic()
    LOGGER.info("%s: %d expected, shards: %d", stage.name, len(stage.expected), len(stage.shards()))
    results = _run_shards(stage, context, journaled(_compute))
    rejected = context.look(stage.variant, stage.expected).read(RejectedRecord)
    report = StageReport(
        stage=stage.name,
        unit=stage.unit,
        variant_id=stage.variant.variant_id,
        num_expected=len(stage.expected),
        num_cached=sum(result.num_cached for result in results),
        num_computed=sum(result.num_computed for result in results),
        num_rejected=len(rejected),
        seconds=time.monotonic() - started,
        first_rejected=tuple(rejected[:_NUM_LISTED]),
        reasons=count_reasons(rejected),
    )
    show_result(report, rejected)
    return report


def run_shards(stage: Stage, context: Context) -> list[ShardResult]:
    """Compute what is missing of a stage, or all of it if the request forces the stage."""
    return _run_shards(stage, context, _compute)


def _run_shards(
    stage: Stage, context: Context, compute: Callable[[Stage, Context], list[ShardResult]]
) -> list[ShardResult]:
    """Run a stage's shards; whoever computes holds the variant's lease.

    A second process waits for it and then computes what is still missing. With nothing to compute,
    no lease is needed.
    """
    if stage.name not in context.request.force:
        pending = _find_pending(stage, context)
        if not pending:
            return _submit(stage, pending, context)
    with holding(stage.name, [stage.variant], partition_of(context.request)):
        return compute(stage, context)


def _compute(stage: Stage, context: Context) -> list[ShardResult]:
    if stage.name in context.request.force:
        stage.variant.invalidate(stage.expected, once_for=_run_that_forces(context))
    return _submit(stage, _find_pending(stage, context), context)


def _run_that_forces(context: Context) -> str | None:
    """Return the id of the run that a retry continues: what it forces is invalidated only once."""
    return context.request.continues or flow_run.root_flow_run_id


def _find_pending(stage: Stage, context: Context) -> set[str]:
    pending = set(context.look(stage.variant, stage.expected).pending)
    context.store.save_indexes()
    _warn_of_damage(stage.name, context)
    return pending


def _submit(stage: Stage, pending: set[str], context: Context) -> list[ShardResult]:
    """Submit the shards with pending items, and wait for them."""
    if pending:
        stage.before_use([item for item in stage.expected if item in pending])
    shards = [
        shard
        for shard in stage.shards()
        if stage.checks_cached or not pending.isdisjoint(shard.expected)
    ]
    with follow(stage, pending):
        futures = submit_shards(stage, shards, context)
    results = [_result(stage.name, future.state) for future in futures]
    num_cached = len(stage.expected) - sum(len(shard.expected) for shard in shards)
    if num_cached:
        items = format_count(num_cached, stage.unit)
        state = cached_shards(stage.name, num_cached, items, return_state=True)
        results.append(_result(stage.name, state))
    return results


@task(
    name="cached",
    task_run_name="{stage} shards with nothing to compute ({items})",
    cache_policy=NO_CACHE,
)
def cached_shards(stage: StageName, num_items: int, items: str) -> State:  # noqa: ARG001 - named so
    """Show the shards that were cached in the UI, as one task run whose state is named Cached."""
    return as_state(ShardResult(num_cached=num_items, num_computed=0))


def _warn_of_damage(stage: str, context: Context) -> None:
    """Warn once of files whose content changed although their time stamps are the same."""
    videos, parts = (context.store.index(kind).take_silent() for kind in ("sources", "parts"))
    if videos or parts:
        LOGGER.warning(
            "%s: the content of %d videos and %d stored parts changed, but not their times: check "
            "the disk, and compare the videos with a backup; results are computed from them "
            "as they are now",
            stage, videos, parts,
        )  # fmt: skip


def _result(stage: str, state: State[Any]) -> ShardResult:
    """Return a shard's result, or raise why it failed."""
    if state.is_completed():
        return state.result()
    error = state.result(raise_on_failure=False)
    if isinstance(error, WaverError):
        raise error
    if isinstance(error, Exception):
        raise StageError(f"A shard failed: {reason_of(error)}") from error
    raise StageError(f"A shard of stage {stage!r} ended as {state.name!r}.")
