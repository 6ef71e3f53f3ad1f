"""`waver serve` as a user starts it: the server, the pools and their workers.

The pools are `flows.server.pools`, a worker's process is `flows.server.worker`.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from flows.server.automation import AUTOMATION
from flows.server.connection import post

pytestmark = pytest.mark.slow


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_for(condition: Callable[[], bool], message: str, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, message
        time.sleep(0.2)


class Served:
    """A `waver serve` on a free port."""

    def __init__(self, home: Path, *options: str, **environment: str) -> None:
        self.home, self.port, self.log_path = home, free_port(), home / "serve.log"
        self.api_url = f"http://127.0.0.1:{self.port}/api"
        inherited = {k: v for k, v in os.environ.items() if k != "PREFECT_API_URL"}
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable, "-m", "flows.cli.main", "serve", "--port", str(self.port),
                    *options,
                ],
                env={**inherited, **environment, "PREFECT_HOME": str(home)},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def log(self) -> str:
        return self.log_path.read_text()

    def wait_until_ready(self) -> None:
        wait_for(lambda: "Workers:" in self.log() or self.process.poll() is not None, "not ready")
        assert self.process.poll() is None, self.log()

    def family(self) -> list[int]:
        """The processes of its server and workers, which have sessions of their own."""
        names = (b"flows.server.process", b"flows.server.worker")
        home = f"PREFECT_HOME={self.home}".encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                command = (folder / "cmdline").read_bytes()
                if any(name in command for name in names) and home in (
                    folder / "environ"
                ).read_bytes().split(b"\0"):
                    found.append(int(folder.name))
            except OSError:
                continue
        return found

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=100)


@pytest.fixture
def home(new_history: Callable[[pytest.MonkeyPatch], Path]) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        yield new_history(patch)


@pytest.fixture
def served(home: Path) -> Iterator[Served]:
    served = Served(home)
    try:
        served.wait_until_ready()
        yield served
    finally:
        served.process.kill()
        served.process.wait()


def test_serve_runs_a_worker_for_each_pool_and_creates_the_automation(served: Served) -> None:
    with httpx.Client(base_url=served.api_url, timeout=60) as client:
        wait_for(
            lambda: {
                (pool["name"], pool["type"], pool["status"])
                for pool in post(client, "/work_pools/filter", {})
            } == {("waver-cpu", "process", "READY"), ("waver-gpu", "process", "READY")},
            "the workers are not online",
        )  # fmt: skip
        assert [row["name"] for row in post(client, "/automations/filter", {})] == [AUTOMATION]
    assert len(served.family()) == 3
    assert served.end() == 0
    assert "Stopped; the history is kept." in served.log()
    wait_for(lambda: served.family() == [], "processes remained", 10)
