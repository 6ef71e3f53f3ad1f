"""Ends a command within seconds when its Prefect server is gone, instead of Prefect's minutes.

A server of this computer whose process has died never returns. One at `PREFECT_API_URL` may be
restarting: it has some minutes, while which everything but the run's record goes on.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

from flows.server.connection import is_healthy
from flows.server.local_server import lost_server_message, server_is_alive
from storage.errors import StageError
from tasks.log import LOGGER
from tasks.processes.group import stop_children

RESTART_SECONDS = 300.0
_OWN_POLL_SECONDS = 0.5
_EXTERNAL_POLL_SECONDS = 5.0
_END_SECONDS = 8.0  # for what is open to be closed; Prefect would retry each last request
_SIGNAL = signal.SIGUSR1


class _ServerLost(BaseException):
    """Raised in the main thread: no error of a stage, so that nothing handles it as one."""


@contextlib.contextmanager
def end_when_lost(api_url: str, *, is_external: bool) -> Iterator[Callable[[], bool]]:
    """Watch the server during the body; yields a function that returns whether it is lost.

    Raises:
        StageError: the server is lost. If the body does not end soon after that, the sentence is
            printed and the process ends with status 1.
    """
    lost, finished = threading.Event(), threading.Event()

    def watch() -> None:
        wait = _lost_external if is_external else _lost_own
        if wait(api_url, finished):
            lost.set()
            _end(api_url, finished)

    previous = signal.signal(_SIGNAL, _raise_lost)
    thread = threading.Thread(target=watch, daemon=True, name="watch-server")
    thread.start()
    try:
        yield lost.is_set
    except BaseException as error:
        if not lost.is_set():
            raise
        raise StageError(lost_server_message(api_url)) from error
    finally:
        finished.set()
        # By default the signal would end the process, should the thread be about to send it.
        signal.signal(_SIGNAL, signal.SIG_IGN if previous == signal.SIG_DFL else previous)


def _raise_lost(_number: int, _frame: FrameType | None) -> None:
    raise _ServerLost


def _lost_own(_: str, finished: threading.Event) -> bool:
    """Wait until the server's process has died; returns False if the body finished first."""
    while not finished.wait(_OWN_POLL_SECONDS):
        if not server_is_alive():
            return True
    return False


def _lost_external(api_url: str, finished: threading.Event) -> bool:
    """Wait until the server has not responded for too long; returns False if the body finished."""
    silent_since: float | None = None
    while not finished.wait(_EXTERNAL_POLL_SECONDS):
        if is_healthy(api_url, timeout=_EXTERNAL_POLL_SECONDS):
            if silent_since is not None:
                LOGGER.info("the Prefect server responds again")
            silent_since = None
        elif silent_since is None:
            silent_since = time.monotonic()
            LOGGER.warning(
                "the Prefect server at %r does not respond: the run continues, and ends if that "
                "lasts %d s", api_url, RESTART_SECONDS,
            )  # fmt: skip
        elif time.monotonic() - silent_since > RESTART_SECONDS:
            return True
    return False


def _end(api_url: str, finished: threading.Event) -> None:
    """Interrupt the main thread, and end the process if that is not enough."""
    if finished.is_set():  # while this thread was deciding
        return
    stop_children()
    signal.pthread_kill(threading.main_thread().ident or 0, _SIGNAL)
    if not finished.wait(_END_SECONDS):
        sys.stderr.write(f"waver: {lost_server_message(api_url)}\n")
        os._exit(1)
