"""What a model's child process runs in: its output, its progress lines, how it fails and ends.

Only lines for the parent go to the standard output; everything that libraries print goes to the
log beside the job.
"""

import contextlib
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from storage.errors import CrashError, StageError, WaverError
from tasks.processes.error_file import ErrorFile, log_path_of

DONE = "done "
FAILED = "failed"
_USER_ERROR, _UNEXPECTED = 2, 1
_DONE_SECONDS = 1.0


def run_as_child(
    name: str, job_path: Path, work: Callable[[TextIO], None], *, out_of_memory: str = ""
) -> int:
    """Run ``work``, which gets the stream to the parent; returns the exit status: 0, 1 or 2.

    An error is reported in an `ErrorFile` beside the job. The text of an unexpected one may quote a
    person: it stays in the log and only its class is reported, or ``out_of_memory`` if given.
    """
    end_with_parent()
    out = redirect_output(log_path_of(job_path))
    with contextlib.closing(ErrorFile(job_path)) as error_file:
        try:
            work(out)
        except Exception as error:  # noqa: BLE001 - reported to the parent
            traceback.print_exc()
            error_file.write(_reported(error, name, out_of_memory))
            print(FAILED, file=out)
            return _USER_ERROR if isinstance(error, WaverError) else _UNEXPECTED
    return 0


def _reported(error: Exception, name: str, out_of_memory: str) -> WaverError:
    if isinstance(error, WaverError):
        return error
    if out_of_memory and is_lack_of_memory(error):
        return StageError(out_of_memory)
    return CrashError(f"{name} failed ({type(error).__name__}).")


def redirect_output(log_path: Path) -> TextIO:
    """Send stdout and stderr to a log; returns a stream to the original stdout.

    The log is appended to: processes that train together write to one.
    """
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1, encoding="utf-8")
    with log_path.open("ab") as log:
        os.dup2(log.fileno(), sys.stdout.fileno())
        os.dup2(log.fileno(), sys.stderr.fileno())
    return out


class DoneCounter:
    """Counts finished items and prints ``done N`` for the parent, at most once a second."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._num_done = 0
        self._due = 0.0

    def add(self) -> None:
        """Count one more."""
        self._num_done += 1

    def show_if_due(self) -> None:
        """Print the count unless it was printed a moment ago."""
        if time.monotonic() >= self._due:
            self.show()

    def show(self) -> None:
        """Print the count."""
        print(f"{DONE}{self._num_done}", file=self._out)
        self._due = time.monotonic() + _DONE_SECONDS


def end_with_parent(pipe: int = 0, *, whole_group: bool = True) -> None:
    """End this process, or its whole group, once no other process holds ``pipe`` for writing.

    `run_child` holds the write end of its child's stdin, so the pipe closes however the parent
    dies.
    """

    def wait() -> None:
        while os.read(pipe, 1024):
            pass
        if whole_group:
            os.killpg(os.getpgid(0), signal.SIGKILL)
        os._exit(1)

    threading.Thread(target=wait, daemon=True, name="end-with-parent").start()


def is_lack_of_memory(error: Exception) -> bool:
    """Return whether torch's allocators ran out: they raise RuntimeError, worded by device."""
    message = str(error)
    return (
        isinstance(error, MemoryError) or "out of memory" in message or "allocate memory" in message
    )
