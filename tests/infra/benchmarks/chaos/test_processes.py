import os
import subprocess
import sys
import uuid

from infra.benchmarks.chaos.processes import MARK, end_marked, find_marked, wait_until

_HAS_CHILD = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
print("started", flush=True)
time.sleep(60)
"""


def test_descendants_that_outlive_their_parent_are_found_by_their_mark_and_ended() -> None:
    mark = uuid.uuid4().hex
    process = subprocess.Popen(
        [sys.executable, "-c", _HAS_CHILD], env={**os.environ, MARK: mark}, stdout=subprocess.PIPE
    )
    with process:
        assert process.stdout.readline() == b"started\n"
        assert wait_until(lambda: len(find_marked(mark)) == 2, 20)
        process.kill()
    (left,) = find_marked(mark)
    assert "time.sleep" in left.command
    end_marked(mark)
    assert wait_until(lambda: not find_marked(mark), 20)
    assert not wait_until(lambda: bool(find_marked(mark)), 0.2)
