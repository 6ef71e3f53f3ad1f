"""A worker's process: `python -m flows.server.worker POOL [LIMIT]`.

It is Prefect's own worker, which ends, with the runs in its process group, when its parent is gone.
"""

import contextlib
import os
import runpy
import signal
import sys
import threading
import time
from pathlib import Path

_RUNS_END_SECONDS = 60.0
_POLL_SECONDS = 0.1


def main() -> None:
    """Take runs of the pool until the process is stopped or its parent ends."""
    pool, limit = sys.argv[1], sys.argv[2:]
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.argv = ["prefect", "worker", "start", "--pool", pool, "--type", "process"]
    sys.argv += ["--limit", *limit] if limit else []
    runpy.run_module("prefect", run_name="__main__", alter_sys=True)


def _end_with_parent() -> None:
    """Wait until the pipe from the parent closes; then end."""
    while os.read(0, 1024):
        pass
    stop_group(os.getpid())


def stop_group(worker: int) -> None:
    """End a worker and its runs: these get time to record it, then all are killed.

    Prefect's worker takes no further runs after SIGTERM, but never ends by itself (3.7.7).
    """
    with contextlib.suppress(ProcessLookupError):
        os.killpg(worker, signal.SIGTERM)
        deadline = time.monotonic() + _RUNS_END_SECONDS
        while _has_runs(worker) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        os.killpg(worker, signal.SIGKILL)


def _has_runs(worker: int) -> bool:
    """Return whether processes besides the worker live in its group."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        if int(fields[2]) == worker and int(status.parent.name) != worker and fields[0] not in "ZX":
            return True
    return False


if __name__ == "__main__":
    main()
