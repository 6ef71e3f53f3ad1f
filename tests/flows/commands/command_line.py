"""Runs of the whole command line in tests: every one a process of its own."""

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryFile

from flows.context.overrides import read_overrides
from flows.context.request import RunRequest

QUICK = (
    "finetune.steps=4", "finetune.eval_steps=2", "finetune.batch_size=8",
    "aggregate.bootstrap_draws=50",
)  # fmt: skip


RUN_SECONDS = 1_000.0  # of a whole run on a computer that others use; alone it takes a minute


class Waver:
    """The command `waver` of one environment: each call is a fork of a process that imported it."""

    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests
        requests.settimeout(RUN_SECONDS)

    def start(self, arguments: list[str], stdout: int, stderr: int) -> int:
        """Start a command on these file descriptors; returns its process id. `wait` for it next."""
        message = json.dumps(arguments).encode()
        socket.send_fds(self._requests, [message], [stdout, stderr])
        return self._read()

    def wait(self) -> int:
        """Return the exit code of the command, negative for a signal."""
        return self._read()

    def __call__(self, *arguments: str) -> CompletedProcess[str]:
        with TemporaryFile("w+") as stdout, TemporaryFile("w+") as stderr:
            self.start(list(arguments), stdout.fileno(), stderr.fileno())
            status = self.wait()
            for file in (stdout, stderr):
                file.seek(0)
            return CompletedProcess(arguments, status, stdout.read(), stderr.read())

    @contextmanager
    def fork(self, environment: Mapping[str, str] | None = None) -> Iterator["Waver"]:
        """Yield another one, for commands at the same time or with more variables."""
        requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with requests:
            with theirs:
                message = json.dumps(dict(environment or {})).encode()
                socket.send_fds(self._requests, [message], [theirs.fileno()])
                self._read()
            yield Waver(requests)

    def _read(self) -> int:
        answer = self._requests.recv(100)
        assert answer, "the process that forks is gone"
        return int(answer)


@contextmanager
def forked_waver(environment: Mapping[str, str]) -> Iterator[Waver]:
    requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = (sys.executable, "-m", "tests.flows.commands.forked_command", str(theirs.fileno()))
    with requests:
        with theirs:
            process = subprocess.Popen(
                command, env=environment, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
            )
        with process:
            yield Waver(requests)
            process.kill()


@dataclass(frozen=True)
class SandboxRun:
    """A small sandbox data set, and the store of one undisturbed run of all stages on it.

    All tests use the same folders: never write to them, copy the store.
    """

    data: Path
    store: Path
    output: str


def arguments_of(data: Path, store: Path | str, *options: str) -> list[str]:
    overrides = [part for setting in QUICK for part in ("--set", setting)]
    return [
        "run", "--profile", "sandbox", "--data", str(data), "--store", str(store), *overrides,
        *options,
    ]  # fmt: skip


def run(waver: Waver, data: Path, store: Path | str, *options: str, status: int = 0) -> str:
    ended = waver(*arguments_of(data, store, *options))
    assert ended.returncode == status, ended.stdout + ended.stderr
    return ended.stdout


def run_alone(environment: Mapping[str, str], data: Path, store: Path) -> str:
    """Run the pipeline as a user does, by a command that imports everything itself."""
    ended = subprocess.run(
        [sys.executable, "-m", "flows.cli.main", *arguments_of(data, store)],
        env=environment, capture_output=True, text=True, timeout=RUN_SECONDS,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def request_of(data: Path, store: Path | str, model: Path | None = None) -> RunRequest:
    """The same run's request, to read its results."""
    return RunRequest(
        data=str(data), store=str(store), profile="sandbox", settings=read_overrides(QUICK),
        model=str(model) if model else None,
    )  # fmt: skip


def computed(output: str, stage: str) -> int:
    """How many items a stage computed, from the line it ends with."""
    (count,) = re.findall(rf"{stage}: \d+ cached, (\d+) computed, \d+ rejected in", output)
    return int(count)
