"""A Ray cluster of this computer alone, on the loopback device, and the CPU time that it uses.

``python -m infra.benchmarks.ray_node`` starts one, prints its address, and ends with stdin.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

_OBJECT_BYTES = 80 * 2**20
_SAMPLE_SECONDS = 0.5
_TICKS = os.sysconf("SC_CLK_TCK")


class RayNode:
    """A node's address, and the CPU seconds of its processes so far.

    Ray does not wait for the processes that it ends, so they are looked at while they live.
    """

    def __init__(self, address: str, process_id: int) -> None:
        self.address = address
        self._process_id = process_id
        self._seconds: dict[int, float] = {}

    def cpu_seconds(self) -> float:
        """Return the CPU seconds of all of the node's processes, also of those that have ended."""
        found = _processes()
        parts = {pid for pid, (parent, _) in found.items() if parent == self._process_id}
        for pid, (parent, seconds) in found.items():
            if pid in parts or parent in parts:  # Ray's own processes, and its workers
                self._seconds[pid] = seconds
        return sum(self._seconds.values())

    def sample(self, ended: Event) -> None:
        """Look at the processes until the event."""
        while not ended.wait(_SAMPLE_SECONDS):
            self.cpu_seconds()


def _processes() -> dict[int, tuple[int, float]]:
    """Map processes to their parent and CPU seconds, with children that were waited for."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            found[int(folder.name)] = int(fields[1]), sum(map(int, fields[11:15])) / _TICKS
    return found


@contextmanager
def one_node() -> Iterator[RayNode]:
    """Start a cluster of one node with the cores of this computer, until the block ends."""
    command = [sys.executable, "-m", "infra.benchmarks.ray_node"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        node, ended = RayNode(process.stdout.readline().strip(), process.pid), Event()
        sampling = Thread(target=node.sample, args=(ended,), daemon=True)
        sampling.start()
        try:
            yield node
        finally:
            ended.set()
            sampling.join()
            process.stdin.close()


def main() -> None:
    """Start the node, print its address, and wait for the end of stdin."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # Before Ray is imported: or the node takes the address of a network device.
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    from ray.cluster_utils import Cluster

    node = {
        "num_cpus": os.cpu_count() or 1,
        "object_store_memory": _OBJECT_BYTES,
        "include_dashboard": False,
        "node_ip_address": "127.0.0.1",
    }
    cluster = Cluster(initialize_head=True, head_node_args=node)
    print(cluster.address, flush=True)
    sys.stdin.read()
    cluster.shutdown()


if __name__ == "__main__":
    main()
