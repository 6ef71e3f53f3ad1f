"""What SIGTERM does to a process that uses a Ray cluster: what it does to any other."""

import ctypes
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def sigterm_handler_kept() -> Iterator[None]:
    """Keep the handler of SIGTERM over a block that calls `ray.init`.

    Ray (2.60) sets one of its own in Python, and another one in C, also from threads, which prints
    a stack and ends the process at once: the run would stay Running, with nothing cleaned up.
    """
    read, write = ctypes.pythonapi.PyOS_getsig, ctypes.pythonapi.PyOS_setsig
    read.argtypes, read.restype = [ctypes.c_int], ctypes.c_void_p
    write.argtypes, write.restype = [ctypes.c_int, ctypes.c_void_p], ctypes.c_void_p
    in_python, in_c = signal.getsignal(signal.SIGTERM), read(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread() and in_python is not None:
            signal.signal(signal.SIGTERM, in_python)
        write(signal.SIGTERM, in_c)


@contextmanager
def signals_as_raised() -> Iterator[None]:
    """Raise what a signal's handler raised while the block was in a call of Ray.

    Ray (2.60) runs handlers in the middle of its calls, which then end with a SystemError.
    """
    try:
        yield
    except SystemError as error:
        if error.__cause__ is None:
            raise
        raise error.__cause__ from None
