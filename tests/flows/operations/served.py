"""A real `waver serve` in tests, with a deployment that runs as long as a test wants."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from flows.server.connection import post
from flows.server.pools import CPU_POOL

ROOT = Path(__file__).parents[3]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_for(condition: Callable[[], bool], message: str, seconds: float = 150) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, message
        time.sleep(0.2)


class Served:
    """A `waver serve` on the same port at every start."""

    def __init__(self, home: Path, *options: str, scheme: str = "http", **environment: str) -> None:
        self.home, self.port, self.log_path = home, free_port(), home / "serve.log"
        self.options, self.environment = options, environment
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self.api_url = f"{self.url}/api"
        self.start()

    def start(self) -> None:
        inherited = {k: v for k, v in os.environ.items() if k != "PREFECT_API_URL"}
        self.log_path.write_text("")
        quick = {"PREFECT_WORKER_QUERY_SECONDS": "1", "PYTHONPATH": str(ROOT)}
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable, "-m", "flows.cli.main", "serve", "--port", str(self.port),
                    *self.options,
                ],
                env={**inherited, **quick, **self.environment, "PREFECT_HOME": str(self.home)},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        wait_for(lambda: "Workers:" in self.log() or self.process.poll() is not None, "not ready")
        assert self.process.poll() is None, self.log()

    def log(self) -> str:
        return self.log_path.read_text()

    def processes(self, *words: str) -> list[int]:
        """The processes with this history whose command contains one of the words."""
        home = f"PREFECT_HOME={self.home}".encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                command = (folder / "cmdline").read_bytes().decode()
                variables = (folder / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if home in variables and any(word in command for word in words):
                found.append(int(folder.name))
        return found

    def family(self) -> list[int]:
        """The server, the workers and their runs, which have sessions of their own."""
        return self.processes("flows.server.", "prefect.")

    def kill(self, *words: str) -> None:
        for process_id in self.processes(*words):
            os.kill(process_id, signal.SIGKILL)

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=100)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        wait_for(lambda: self.family() == [], "processes remained")

    def rows(self, kind: str, **criteria: Any) -> list[dict[str, Any]]:
        with httpx.Client(base_url=self.api_url, timeout=60) as client:
            return list(post(client, f"/{kind}/filter", criteria))

    def deploy(self) -> str:
        """Create the deployment of `slow_flow.slow`, one run at a time; returns its id."""
        with httpx.Client(base_url=self.api_url, timeout=60) as client:
            flow = post(client, "/flows/", {"name": "slow"})
            deployment = {
                "name": "slow", "flow_id": flow["id"], "work_pool_name": CPU_POOL,
                "entrypoint": "tests.flows.operations.slow_flow.slow",
                "pull_steps": [
                    {"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}
                ],
                "concurrency_limit": 1,
                "concurrency_options": {"collision_strategy": "CANCEL_NEW"},
            }  # fmt: skip
            return str(post(client, "/deployments/", deployment)["id"])

    def run(self, deployment: str, path: Path) -> str:
        with httpx.Client(base_url=self.api_url, timeout=60) as client:
            body = {"parameters": {"path": str(path)}, "state": {"type": "SCHEDULED"}}
            run = post(client, f"/deployments/{deployment}/create_flow_run", body)
            return str(run["id"])

    def state(self, run_id: str) -> str:
        (row,) = self.rows("flow_runs", flow_runs={"id": {"any_": [run_id]}})
        return str(row["state"]["type"])

    def states(self) -> list[str]:
        """The states of all flow runs and task runs."""
        return [
            row["state"]["type"] for kind in ("flow_runs", "task_runs") for row in self.rows(kind)
        ]

    def wait_until_running(self, run_id: str) -> None:
        """Wait until the run's subflow runs its task."""
        wait_for(
            lambda: self.state(run_id) == "RUNNING"
            and any(row["state"]["type"] == "RUNNING" and "wait_for_file" in row["name"]
                    for row in self.rows("task_runs")),
            "the run does not run",
        )  # fmt: skip
