"""A process of its own gets SIGTERM: without its handler it would end at once."""

import subprocess
import sys

import pytest

from flows.cluster.signals import signals_as_raised

_PROGRAM = """
import ctypes, os, signal, sys, threading
from flows.cluster.signals import sigterm_handler_kept

def end_in_order(number, frame):
    print("ends in order", flush=True)
    sys.exit(3)

signal.signal(signal.SIGTERM, end_in_order)

def connect():
    with sigterm_handler_kept():
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, lambda *_: os._exit(1))
        ctypes.CDLL(None).signal(int(signal.SIGTERM), ctypes.c_void_p(0))

if sys.argv[1] == "thread":
    thread = threading.Thread(target=connect)
    thread.start()
    thread.join()
else:
    connect()
os.kill(os.getpid(), signal.SIGTERM)
"""


@pytest.mark.parametrize("caller", ["thread", "main"])
def test_a_library_that_takes_sigterm_for_itself_gives_it_back(caller) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _PROGRAM, caller], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (3, "ends in order\n"), ended.stderr


class Stopped(BaseException):
    """As a signal's handler raises."""


@pytest.mark.parametrize("cause", [Stopped(), KeyboardInterrupt()])
def test_what_a_handler_raises_in_a_call_in_c_is_raised_as_it_is(cause) -> None:
    with pytest.raises(type(cause)) as raised, signals_as_raised():
        raise SystemError("<wait> returned a result with an exception set") from cause
    assert raised.value is cause


@pytest.mark.parametrize("error", [SystemError("of another kind"), ValueError("wrong")])
def test_other_errors_are_not_changed(error) -> None:
    with pytest.raises(type(error)) as raised, signals_as_raised():
        raise error
    assert raised.value is error
