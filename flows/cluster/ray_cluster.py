"""The Ray cluster that `resources.ray_address` names: how this process connects to it.

Ray is an extra. A process stays connected until it ends: Ray allows one connection at a time.
"""

import logging
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

from flows.cluster.address import check_cluster, host_and_port
from flows.cluster.signals import signals_as_raised, sigterm_handler_kept
from flows.server.environment import CLIENT, QUIET
from storage.errors import ConfigError
from storage.store.atomic import temporary_name
from storage.store.store import TEMPORARY, Store
from tasks.cluster.node_check import code_digest, find_fault

_ROOT = Path(__file__).parents[2]
_CHECK_SECONDS = 400.0  # a busy node imports Waver, perhaps from a slow disk; a dead one fails
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One node of the cluster, with its resources."""

    node_id: str
    address: str
    num_cpus: int
    num_gpus: int


@dataclass(frozen=True, slots=True)
class RayCluster:
    """A cluster that this process is connected to."""

    address: str

    def nodes(self) -> list[Node]:
        """Return the nodes that are alive and have CPUs, those with most CPUs first."""
        import ray

        found = [
            Node(
                node_id=row["NodeID"],
                address=row["NodeManagerAddress"],
                num_cpus=int(row["Resources"].get("CPU", 0)),
                num_gpus=int(row["Resources"].get("GPU", 0)),
            )
            for row in ray.nodes()
            if row["Alive"]
        ]
        return sorted((n for n in found if n.num_cpus), key=lambda n: (-n.num_cpus, n.node_id))

    def check_nodes(
        self,
        store: Store,
        paths: Sequence[str],
        module: str,
        processes: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        """Raise if a node lacks the code, the store or the files of this run.

        A process on a node takes seconds to start and to import ``module``, that of the task which
        runs next: ``processes`` is how many are to be ready by node id, by default one on each.

        Raises:
            ConfigError: names the node and what it lacks.
        """
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as OnNode

        url = store.url if store.remote else store.root
        token = f"{TEMPORARY}/{temporary_name()}"
        store.write_bytes(token, b"")
        try:
            checks = [
                (
                    node.address,
                    ray.remote(find_fault)
                    .options(num_cpus=0, scheduling_strategy=OnNode(node.node_id, soft=False))
                    .remote(code_digest(), url, token, list(paths), module),
                )
                for node in self.nodes()
                for _ in range(processes.get(node.node_id, 1))
            ]
            for address, check in checks:
                try:
                    with signals_as_raised():
                        fault = ray.get(check, timeout=_CHECK_SECONDS)
                except ray.exceptions.RayError as error:
                    fault = f"cannot run Waver ({_first_line(error)})"
                if fault:
                    raise ConfigError(f"Node {address!r} of the Ray cluster {fault}.")
        finally:
            store.remove(token)


@cache
def connect(address: str) -> RayCluster:
    """Connect this process to a cluster; later calls return the same connection.

    Raises:
        ToolError: Ray is not installed.
        ConfigError: no cluster answers at the address.
    """
    check_cluster(address)
    host, _ = host_and_port(address)
    if host in _LOOPBACK:  # or Ray would replace it by the address of a network device
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    try:
        with sigterm_handler_kept():
            ray.init(
                address,
                namespace="prefect",
                log_to_driver=False,
                logging_level=logging.ERROR,
                runtime_env={"env_vars": _node_environment(), **python_of_nodes()},
            )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"The Ray cluster at resources.ray_address {address!r} cannot be used "
            f"({_first_line(error)}): this node must be part of it, with the same Ray and Python."
        ) from error
    return RayCluster(address)


def python_of_nodes() -> dict[str, str]:
    """Return how processes on nodes start if this environment's path needs quotes.

    Ray (2.60) starts them by a shell's command line, in which it does not quote Python's path.
    """
    quoted = shlex.quote(sys.executable)
    return {} if quoted == sys.executable else {"py_executable": quoted}


def _node_environment() -> dict[str, str]:
    """Return the environment of processes on nodes: where Waver is, and how they log."""
    paths = (str(_ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)))
    # Of the environment no more: Ray shows that of a job, with its secrets, to all who see the job.
    passed = {name: os.environ[name] for name in (*CLIENT, *QUIET) if name in os.environ}
    return {**passed, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
