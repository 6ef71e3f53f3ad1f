import subprocess
import sys
import time

import pytest

from flows.cluster.address import is_answering
from infra.benchmarks.ray_node import RayNode, one_node

BUSY = "import time\nwhile time.process_time() < 0.5: pass\ntime.sleep(60)"
RAYLET = f"""
import signal, subprocess, sys, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # as Ray: nobody waits for its processes
worker = subprocess.Popen([sys.executable, "-c", {BUSY!r}])
sys.stdin.read(1)
worker.kill()
print("killed", flush=True)
time.sleep(60)
"""
HEAD = f"""
import subprocess, sys
raylet = subprocess.Popen([sys.executable, "-c", {RAYLET!r}], stdin=subprocess.PIPE)
raylet.communicate(sys.stdin.buffer.read(1) and b"x")
"""


def test_the_cpu_seconds_of_a_worker_count_also_after_its_end():
    command = [sys.executable, "-c", HEAD]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as head:
        node, deadline = RayNode("", head.pid), time.monotonic() + 60
        while node.cpu_seconds() < 0.5:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        seconds = node.cpu_seconds()
        head.stdin.write(b"x")
        head.stdin.flush()
        assert head.stdout.readline() == b"killed\n"
        assert node.cpu_seconds() >= seconds
        subprocess.run(["pkill", "-P", str(head.pid)], check=True)
        head.wait()


@pytest.mark.operations
def test_a_node_answers_until_the_block_ends():
    with one_node() as node:
        assert is_answering(node.address)
        assert node.cpu_seconds() > 0
    assert not is_answering(node.address)
