import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.commands.termination import Terminated, raise_on_termination
from flows.server.connection import api_client, post
from tests.flows.server.flow_command import IN_CHILDREN

COMMAND = """
import sys, time
from flows.cli import main
def wait(): print("started", flush=True); time.sleep(60)
main.app = lambda prog_name: wait()
main.main()
"""


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_signal_is_raised_once_and_does_not_interrupt_the_clean_end() -> None:
    raise_on_termination()
    with pytest.raises(Terminated, match="SIGTERM") as raised:
        os.kill(os.getpid(), signal.SIGTERM)
    assert raised.value.number == signal.SIGTERM
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGHUP)


def test_a_command_under_nohup_ignores_that_its_terminal_is_closed() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    raise_on_termination()
    os.kill(os.getpid(), signal.SIGHUP)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_command_ends_with_the_conventional_status_and_one_sentence(number: int) -> None:
    command = [sys.executable, "-c", COMMAND]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"started\n"
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert errors.decode().splitlines() == [
        f"waver: terminated by {signal.Signals(number).name}; finished results are kept."
    ]


@pytest.mark.operations
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_run_and_all_below_it_are_crashed_and_its_child_processes_ended(
    server: dict[str, str], number: int
) -> None:
    command = [sys.executable, "-c", IN_CHILDREN]
    with (
        api_client(server["PREFECT_API_URL"]) as client,
        subprocess.Popen(
            command, env=server, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process,
    ):  # fmt: skip
        assert process.stdout is not None
        while b"started" not in (line := process.stdout.readline()):
            assert line, "it ended"
        deadline = time.monotonic() + 60
        while not (children := children_of(process.pid)):
            assert time.monotonic() < deadline, "no child process"
            time.sleep(0.1)
        process.send_signal(number)
        try:
            _, errors = process.communicate(timeout=100)
        finally:
            process.kill()  # or a run that ignores the signal would be waited for
        assert process.returncode == 128 + number
        assert errors.decode().splitlines()[-1].endswith("finished results are kept.")
        assert not any(os.path.exists(f"/proc/{child}") for child in children)  # noqa: PTH110
        of_command = {"flows": {"name": {"any_": ["outer", "inner"]}}}
        runs = post(client, "/flow_runs/filter", of_command)
    assert {(run["state"]["type"]) for run in runs} == {"CRASHED"}
    assert len(runs) >= 2


def children_of(process_id: int) -> list[int]:
    named = [
        Path(f"/proc/{child}/cmdline")
        for task in Path(f"/proc/{process_id}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]
    return [int(path.parent.name) for path in named if b"98765" in path.read_bytes()]
