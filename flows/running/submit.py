"""Submitting a stage's shards as Prefect tasks in threads or on a cluster, and waiting for them."""

import concurrent.futures
from collections.abc import Mapping, Sequence
from typing import Any

from prefect import Task
from prefect.futures import PrefectFuture, wait

from flows.cluster.ray_cluster import connect
from flows.cluster.tasks_on_nodes import submit_to_nodes
from flows.context.context import Context
from flows.running.stage import Stage, for_every_core
from tasks.processes.group import allow_children, stop_children
from tasks.stage import Shard, split_into_shards

_STEP_SECONDS = 1.0


def submit_shards(
    stage: Stage, shards: Sequence[Shard], context: Context
) -> Sequence[PrefectFuture[Any]]:
    """Submit the stage's task for some of its shards, in threads or on a cluster, and wait.

    Raises:
        ConfigError: the cluster does not answer, or a node of it cannot compute for this run.
        StageError: the cluster was lost.
    """
    resources = context.settings.resources
    if resources.runner == "local" or stage.needs is None or not shards:
        return submit_all(stage.task, [stage.arguments_of(shard) for shard in shards])
    cluster = connect(resources.ray_address)
    nodes = cluster.nodes()
    needs = stage.needs.fitted(nodes)
    items = {item: digest for shard in shards for item, digest in shard.expected.items()}
    largest = max(len(shard.expected) for shard in shards)
    num_slots = needs.count_slots(nodes)
    calls = [
        stage.arguments_of(shard)
        for shard in split_into_shards(items, for_every_core(len(items), largest, num_slots))
    ]
    paths = [str(path.absolute()) for path in stage.needs.required_paths]
    processes = {node.node_id: max(1, min(len(calls), needs.slots_of(node))) for node in nodes}
    cluster.check_nodes(context.store, paths, stage.task.fn.__module__, processes)
    return submit_to_nodes(stage.task, calls, cluster, [needs] * len(calls))


def submit_all(
    task: Task[..., Any], calls: Sequence[Mapping[str, Any]]
) -> list[PrefectFuture[Any]]:
    """Submit a task once per mapping of arguments, and wait for all of these task runs.

    A run that is stopped terminates its child processes and does not wait.
    """
    allow_children()
    try:
        futures = [task.submit(**arguments) for arguments in calls]
        _wait(futures)
    except BaseException:  # Ctrl-C, or the exception that Prefect raises on SIGTERM
        stop_children()
        raise
    return futures


def _wait(futures: Sequence[PrefectFuture[Any]]) -> None:
    """Wait for all, in steps: Python runs a signal's handler once its main thread wakes up."""
    left = {future.wrapped_future for future in futures}  # type: ignore[attr-defined]  # in threads
    while left:
        _, left = concurrent.futures.wait(left, timeout=_STEP_SECONDS)
    wait(list(futures))
