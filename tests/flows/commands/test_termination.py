import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from flows.commands.termination import Terminated, raise_on_termination

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
