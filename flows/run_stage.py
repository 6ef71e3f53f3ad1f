"""A stage, and the one function that runs any of them: shards submitted, waited for, reported."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prefect import State, Task, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture, wait
from prefect.states import Completed

from flows.context.context import Context
from flows.context.request import StageName
from storage.errors import StageError, WaverError
from storage.records import RejectedRecord
from storage.store.variant import Variant
from tasks.log import LOGGER
from tasks.processes.group import allow_children, stop_children
from tasks.stage import ItemRows, Shard, ShardResult, as_state, split_into_shards

_MAX_SHARDS = 500  # of a stage; Prefect's server slows down at a few thousand task runs per flow
_NUM_LISTED = 10  # rejected items in a stage's report; its table has all


def _verify_nothing(_: Sequence[str]) -> None:
    """Accept a stage that computes from rows alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What one stage has to compute, decided when it starts.

    ``expected`` maps each item to the digest of its inputs. ``task`` computes the missing items of
    one shard of ``shard_size`` items, or more if there are very many. It is called with ``shard``
    and ``variant``, with ``arguments``, and with the rows of the shard's own items out of
    ``by_item``. Without ``checks_cached``, the shards with nothing to compute are one task run.
    ``before_use`` gets the items that are missing, to verify the files that they are computed from.
    """

    name: StageName
    variant: Variant
    expected: Mapping[str, str]
    task: Task[..., Any]
    arguments: Mapping[str, Any]
    by_item: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    shard_size: int = 1
    checks_cached: bool = True
    before_use: Callable[[Sequence[str]], None] = _verify_nothing

    def shards(self) -> list[Shard]:
        """Split the expected items into shards, in order."""
        shard_size = bounded_shard_size(len(self.expected), self.shard_size)
        return split_into_shards(self.expected, shard_size)

    def arguments_of(self, shard: Shard) -> dict[str, Any]:
        """Return the keyword arguments of the task for one shard."""
        rows = {
            name: ItemRows({item: by_item[item] for item in shard.expected})
            for name, by_item in self.by_item.items()
        }
        return {"shard": shard, "variant": self.variant, **rows, **self.arguments}


def bounded_shard_size(num_items: int, shard_size: int) -> int:
    """Return ``shard_size``, or more if a stage would have too many shards."""
    return max(shard_size, -(-num_items // _MAX_SHARDS))


@dataclass(frozen=True, slots=True, kw_only=True)
class StageReport:
    """How many items of a stage were cached, computed and rejected; ``seconds`` is wall time.

    ``first_rejected`` are the first of the rejected ones, with their reasons.
    """

    stage: str
    variant_id: str
    num_expected: int
    num_cached: int
    num_computed: int
    num_rejected: int
    seconds: float
    first_rejected: tuple[RejectedRecord, ...] = ()

    @property
    def is_cached(self) -> bool:
        """True if the stage had nothing to compute."""
        return self.num_computed == 0


def run_stage(stage: Stage, context: Context) -> State[StageReport]:
    """Run a stage's shards, wait for all of them, and report.

    The state is named Cached if nothing had to be computed. A failed shard does not stop the
    others; its error is raised when all have ended.
    """
    started = time.monotonic()
    LOGGER.info("%s: %d expected, shards: %d", stage.name, len(stage.expected), len(stage.shards()))
    results = run_shards(stage, context)
    rejected = context.look(stage.variant, stage.expected).read(RejectedRecord)
    report = StageReport(
        stage=stage.name,
        variant_id=stage.variant.variant_id,
        num_expected=len(stage.expected),
        num_cached=sum(result.num_cached for result in results),
        num_computed=sum(result.num_computed for result in results),
        num_rejected=len(rejected),
        seconds=time.monotonic() - started,
        first_rejected=tuple(rejected[:_NUM_LISTED]),
    )
    _show(report, rejected)
    return Completed(name="Cached" if report.is_cached else "Completed", data=report)


def run_shards(stage: Stage, context: Context) -> list[ShardResult]:
    """Compute what is missing of a stage, or all of it if the request forces the stage."""
    if stage.name in context.request.force:
        stage.variant.invalidate(stage.expected)
    pending = set(context.look(stage.variant, stage.expected).pending)
    context.store.save_indexes()
    _warn_of_damage(stage.name, context)
    if pending:
        stage.before_use([item for item in stage.expected if item in pending])
    shards = [
        shard
        for shard in stage.shards()
        if stage.checks_cached or not pending.isdisjoint(shard.expected)
    ]
    calls = [stage.arguments_of(shard) for shard in shards]
    results = [_result(stage.name, future.state) for future in submit_all(stage.task, calls)]
    num_cached = len(stage.expected) - sum(len(shard.expected) for shard in shards)
    if num_cached:
        state = cached_shards(stage.name, num_cached, return_state=True)
        results.append(_result(stage.name, state))
    return results


@task(name="cached", task_run_name="{stage} shards with nothing to compute", cache_policy=NO_CACHE)
def cached_shards(stage: StageName, num_items: int) -> State:  # noqa: ARG001 - in the run's name
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


def submit_all(
    task: Task[..., Any], calls: Sequence[Mapping[str, Any]]
) -> list[PrefectFuture[Any]]:
    """Submit a task once per mapping of arguments, and wait for all of these task runs.

    A run that is stopped terminates its child processes and does not wait.
    """
    allow_children()
    try:
        futures = [task.submit(**arguments) for arguments in calls]
        wait(futures)
    except BaseException:  # Ctrl-C, or the exception that Prefect raises on SIGTERM
        stop_children()
        raise
    return futures


def _result(stage: str, state: State[Any]) -> ShardResult:
    """Return a shard's result, or raise why it failed."""
    if state.is_completed():
        return state.result()
    error = state.result(raise_on_failure=False)
    if isinstance(error, WaverError):
        raise error
    raise StageError(f"Stage {stage!r} did not finish: {error!r}.") from (
        error if isinstance(error, BaseException) else None
    )


def _show(report: StageReport, rejected: list[RejectedRecord]) -> None:
    """Show the stage's counts, and what it rejected, in the Prefect UI and in the log."""
    create_table_artifact(
        key=f"{report.stage}-result",
        table=[
            {
                "expected": report.num_expected,
                "cached": report.num_cached,
                "computed": report.num_computed,
                "rejected": report.num_rejected,
                "seconds": round(report.seconds, 1),
                "variant": report.variant_id,
            }
        ],
        description=f"Items that stage {report.stage} found cached, computed and rejected.",
    )
    if rejected:
        create_table_artifact(
            key=f"{report.stage}-rejected",
            table=[{"row": row.item_id, "reason": row.reason} for row in rejected],
            description=f"Items that stage {report.stage} rejected, with the reason.",
        )
    LOGGER.info(
        "%s: %d cached, %d computed, %d rejected in %.1f s",
        report.stage, report.num_cached, report.num_computed, report.num_rejected, report.seconds,
    )  # fmt: skip
