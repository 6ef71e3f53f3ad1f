"""Inference engines on the nodes of a Ray cluster, each a Prefect task that claims segments."""

from collections.abc import Callable, Sequence

from flows.cluster.ray_cluster import RayCluster, connect
from flows.cluster.tasks_on_nodes import NodeResources, submit_to_nodes
from storage.errors import ConfigError
from storage.records import SampleRecord
from storage.store.atomic import temporary_name
from storage.store.store import TEMPORARY
from tasks.inference.engines import EngineRound, infer_engine
from tasks.inference.isolation import Crash
from tasks.inference.settings import InferResources
from tasks.stage import ItemRows


class ClusterEngines:
    """Engines on a cluster: one for every `num_gpus` GPUs, or one per node if there are no GPUs."""

    def __init__(self, address: str) -> None:
        self._address = address

    def count(self, resources: InferResources) -> int:
        """Return how many engines run side by side: the setting, or as many as the cluster has."""
        return resources.num_engines or len(self._slots(resources))

    def run(
        self,
        engine_round: EngineRound,
        rows: Sequence[SampleRecord],
        on_line: Callable[[int, str], None],  # noqa: ARG002 - engines on nodes log there
    ) -> list[Crash]:
        """Run the engines over the rows, in this order, and return the crashes.

        Raises:
            ConfigError: a node cannot compute for this run.
            StageError: the cluster was lost, or an engine with too many nodes.
        """
        import ray

        store = engine_round.variant.store
        cluster, slots = self._cluster(), self._slots(engine_round.resources)
        cluster.check_nodes(store, [str(engine_round.model_path)], infer_engine.fn.__module__)
        claims = f"{TEMPORARY}/{temporary_name()}"
        on_nodes = ray.put(ItemRows({str(row.segment_id): row for row in rows}))
        needs = [
            slots[number] if number < len(slots) else slots[0].anywhere()
            for number in range(engine_round.num_engines)
        ]
        calls = [
            {
                "number": number,
                "engine_round": engine_round,
                "rows": on_nodes,
                "claims_url": store.location(claims),
                "num_cores": int(need.num_cpus),
            }
            for number, need in enumerate(needs, start=1)
        ]
        try:
            futures = submit_to_nodes(infer_engine, calls, cluster, needs)
        finally:
            store.remove(claims)
        return [crash for future in futures for crash in future.result()]

    def _cluster(self) -> RayCluster:
        return connect(self._address)

    def _slots(self, resources: InferResources) -> list[NodeResources]:
        """Return what each engine needs, on the node where it should run.

        All need as many CPUs, so that each can be started on the other nodes as well.
        """
        nodes = self._cluster().nodes()
        num_gpus = resources.num_gpus
        one = NodeResources(num_gpus=num_gpus)
        engines = [(node, one.slots_of(node)) for node in nodes]
        if not any(count for _, count in engines):
            if any(node.num_gpus for node in nodes):
                raise ConfigError(
                    f"No node of the Ray cluster has {num_gpus} GPUs for an engine: lower "
                    "resources.infer.num_gpus."
                )
            engines, num_gpus = [(node, 1) for node in nodes], 0
        if not engines:
            raise ConfigError("The Ray cluster has no node with CPUs: start one with `ray start`.")
        num_cpus = min(max(1, node.num_cpus // count) for node, count in engines if count)
        return [
            NodeResources(num_cpus=num_cpus, num_gpus=num_gpus, node_id=node.node_id)
            for node, count in engines
            for _ in range(count)
        ]
