"""Prefect tasks on the nodes of a Ray cluster: submitted through Prefect's `RayTaskRunner`.

A task that was lost with its node is started again on another one. Results are in the store only,
so a lost node costs no more than the shards that it worked on.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import Flow, Task
from prefect.context import EngineContext, TaskRunContext

from flows.cluster.address import is_answering
from flows.cluster.ray_cluster import Node, RayCluster
from flows.cluster.signals import signals_as_raised
from storage.errors import ConfigError, StageError
from tasks.cluster.node_check import placeholder_flow

if TYPE_CHECKING:
    from prefect_ray.task_runners import PrefectRayFuture

_MAX_LOST = 3  # nodes per shard: one that ends them all must not run forever
_POLL_SECONDS = 0.2
_HEAD_CHECK_SECONDS = 5.0
_MAX_SILENT_SECONDS = 20.0  # after 60 s Ray ends this process without an error


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeResources:
    """What one task needs of a node: resources, and files and folders that it reads.

    With ``node_id`` it runs on this node, or on another one if that is lost.
    """

    num_cpus: float = 1
    num_gpus: float = 0
    node_id: str | None = None
    required_paths: tuple[Path, ...] = ()

    def fitted(self, nodes: Sequence[Node]) -> "NodeResources":
        """Return the needs that every node can meet, or every one with GPUs if there are any.

        Ray would wait for another node, and a task whose node is lost must fit the others.

        Raises:
            ConfigError: there is no node.
        """
        if not nodes:
            raise ConfigError("The Ray cluster has no node with CPUs: start one with `ray start`.")
        with_gpus = [node for node in nodes if node.num_gpus] if self.num_gpus else []
        if not with_gpus:
            num_cpus = min(self.num_cpus, *(node.num_cpus for node in nodes))
            return replace(self, num_cpus=num_cpus, num_gpus=0)
        num_gpus = min(self.num_gpus, *(node.num_gpus for node in with_gpus))
        per_task = (int(node.num_cpus * num_gpus / node.num_gpus) for node in with_gpus)
        return replace(self, num_cpus=max(1, min(self.num_cpus, *per_task)), num_gpus=num_gpus)

    def count_slots(self, nodes: Sequence[Node]) -> int:
        """Return how many of these tasks run at once."""
        return max(1, sum(self.slots_of(node) for node in nodes))

    def slots_of(self, node: Node) -> int:
        """Return how many of these tasks a node runs at once."""
        by_cpus = int(node.num_cpus / self.num_cpus)
        return min(by_cpus, int(node.num_gpus / self.num_gpus)) if self.num_gpus else by_cpus

    def anywhere(self) -> "NodeResources":
        """Return the same needs on any node."""
        return replace(self, node_id=None)

    def options(self) -> dict[str, Any]:
        """Return Ray's options of the task."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as OnNode

        strategy = "SPREAD" if self.node_id is None else OnNode(self.node_id, soft=True)
        return {
            "num_cpus": self.num_cpus,
            "num_gpus": self.num_gpus,
            "max_retries": _MAX_LOST,
            "scheduling_strategy": strategy,
        }


def submit_to_nodes(
    task: Task[..., Any],
    calls: Sequence[Mapping[str, Any]],
    cluster: RayCluster,
    needs: Sequence[NodeResources],
) -> "list[PrefectRayFuture[Any]]":
    """Submit a task to the cluster's nodes, once per mapping of arguments, and wait for them.

    ``needs`` are those of each call. A run that is stopped cancels them and does not wait.

    Raises:
        StageError: the cluster no longer answers.
    """
    import ray
    from prefect_ray.context import remote_options
    from prefect_ray.task_runners import RayTaskRunner

    futures: list[PrefectRayFuture[Any]] = []
    runner = RayTaskRunner(address=cluster.address)
    with signals_as_raised(), runner, _context_of_nodes():
        try:
            for arguments, need in zip(calls, needs, strict=True):
                with remote_options(**need.options()):
                    futures.append(runner.submit(task, parameters=dict(arguments)))
            _wait(futures, cluster)
        except BaseException:
            for future in futures if is_answering(cluster.address) else ():
                ray.cancel(future.wrapped_future, force=True)
            raise
    return futures


def _wait(futures: "Sequence[PrefectRayFuture[Any]]", cluster: RayCluster) -> None:
    """Wait for all of them; raise StageError if the cluster is silent for some seconds."""
    import ray

    left = {future.wrapped_future: future for future in futures}
    answered = checked = time.monotonic()
    while left:
        done, _ = ray.wait(list(left), num_returns=len(left), timeout=_POLL_SECONDS)
        for reference in done:
            left.pop(reference).wait()
        now = time.monotonic()
        if now - checked >= _HEAD_CHECK_SECONDS:
            checked = now
            if is_answering(cluster.address):
                answered = now
            elif now - answered > _MAX_SILENT_SECONDS:
                raise StageError(
                    f"The head of the Ray cluster at {cluster.address!r} no longer answers. "
                    "Finished results are kept: start the cluster again, then run again to "
                    "continue."
                )


@contextmanager
def _context_of_nodes() -> Iterator[None]:
    """Show task runs on nodes under this flow run, without sending its code and parameters there.

    They belong to `flows`, which a node need not import, and name the data.
    """
    context = EngineContext.get()
    token = TaskRunContext.__var__.set(None)  # type: ignore[arg-type]  # of a task that submits others
    try:
        if context is None:
            yield
            return
        flow = Flow(placeholder_flow, name=context.flow.name if context.flow else None)
        fields = {name: getattr(context, name) for name in context.model_fields_set}
        with EngineContext(**{**fields, "flow": flow, "parameters": {}}):
            yield
    finally:
        TaskRunContext.__var__.reset(token)
