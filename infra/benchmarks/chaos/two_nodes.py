"""A Ray cluster of two nodes, each with one CPU, as separate processes on the loopback device.

``python -m infra.benchmarks.chaos.two_nodes`` prints the address of the head. On the line ``kill``
on stdin it kills the processes of the second node and starts another one; it prints ``killed``
between the two. The cluster ends with stdin.
"""

import os
import sys

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # or nodes take the address of a device

from ray.cluster_utils import Cluster

NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}


def main() -> None:
    """Start the head and, after it, the other node, and obey stdin."""
    head = {**NODE, "include_dashboard": False, "node_ip_address": "127.0.0.1"}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    second = cluster.add_node(**NODE)
    sys.stdout.write(f"{cluster.address}\n")
    sys.stdout.flush()
    for line in sys.stdin:
        assert line.strip() == "kill"
        cluster.remove_node(second, allow_graceful=False)
        sys.stdout.write("killed\n")
        sys.stdout.flush()
        second = cluster.add_node(**NODE)
    cluster.shutdown()


if __name__ == "__main__":
    main()
