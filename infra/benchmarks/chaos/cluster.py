"""A Ray cluster of two nodes that runs are sent to, and that is made whole before each of them."""

import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from flows.cluster.address import is_answering
from infra.benchmarks.chaos.processes import Process, end_marked, find_marked, wait_until
from infra.benchmarks.chaos.sandbox import marked

_ROOT = Path(__file__).parents[3]
_RAYLET, _HEAD = "raylet/raylet ", "gcs/gcs_server "
_OF_RUNS = ("ray::segment", "ray::transcribe", "ray::infer", "ffmpeg ", "-m tasks.")


class TwoNodes:
    """The cluster's processes, which carry a mark of their own: they outlive the runs."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._mark, self._address = uuid.uuid4().hex, ""
        self._process: subprocess.Popen[str] | None = None

    def settings(self) -> tuple[str, ...]:
        """Return the settings of a run on the cluster; starts it first if it is not whole."""
        commands = [process.command for process in self.processes()]
        counts = [sum(part in command for command in commands) for part in (_RAYLET, _HEAD)]
        if counts != [2, 1] or not is_answering(self._address):  # a head ends after its port
            self.end()
            self._start()
        return "resources.runner=ray", f"resources.ray_address={self._address}"

    def processes(self) -> list[Process]:
        """List the cluster's processes and what they started, oldest first."""
        return find_marked(self._mark) if self._process else []

    def work(self) -> list[Process]:
        """List those that compute for a run."""
        return [p for p in self.processes() if any(part in p.command for part in _OF_RUNS)]

    def end(self) -> None:
        """Kill what is left of it."""
        if self._process is None:
            return
        end_marked(self._mark)
        wait_until(lambda: not find_marked(self._mark), 30)
        with self._process:
            self._process = None

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "infra.benchmarks.chaos.two_nodes"], cwd=_ROOT,
            env=marked(self._environment, self._mark), stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        self._address = self._process.stdout.readline().strip()
        if not self._address:
            raise RuntimeError("The Ray cluster of two nodes did not start.")


def find_node(processes: Sequence[Process]) -> int | None:
    """Return the raylet of the node that is not the head; killed, its node is lost."""
    found = [process.process_id for process in processes if _RAYLET in process.command]
    return found[1] if len(found) == 2 else None


def find_head(processes: Sequence[Process]) -> int | None:
    """Return the process that knows the cluster's nodes and tasks."""
    found = [process.process_id for process in processes if _HEAD in process.command]
    return found[0] if found else None


def find_task(processes: Sequence[Process]) -> int | None:
    """Return the newest process in which a node computes a task."""
    found = [process.process_id for process in processes if "ray::" in process.command
             and any(part in process.command for part in _OF_RUNS)]  # fmt: skip
    return found[-1] if found else None
