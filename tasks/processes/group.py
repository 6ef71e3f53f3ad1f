"""Process groups: children start in one of their own and are ended together."""

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Sequence
from typing import Any

from storage.errors import StageError, ToolError


class ChildGroup:
    """Model processes that are ended together; after that no further one starts.

    Threads that wait for one or start one then get a `StageError`.
    """

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = threading.Event()

    @property
    def is_stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """End all processes and let none start."""
        self._stopped.set()
        for process in tuple(self._running):
            kill_group(process)

    def allow(self) -> None:
        """Let processes start again."""
        self._stopped.clear()

    def add(self, process: "subprocess.Popen[bytes]") -> None:
        """Add a process that has just started."""
        self._running.add(process)
        if self.is_stopped:  # since the caller checked
            kill_group(process)

    def discard(self, process: "subprocess.Popen[bytes]") -> None:
        """Remove a process that has ended."""
        self._running.discard(process)

    def check(self) -> None:
        """Raise StageError if the processes were ended."""
        if self.is_stopped:
            raise StageError("The run was stopped: run again to continue.")


ALL_CHILDREN = ChildGroup()


def stop_children() -> None:
    """End all model processes and let no child start until `allow_children`."""
    ALL_CHILDREN.stop()


def allow_children() -> None:
    """Let children start again."""
    ALL_CHILDREN.allow()


def start_process(command: Sequence[str], **options: Any) -> "subprocess.Popen[bytes]":
    """Start a program in a process group of its own.

    Raises:
        ToolError: the program is not installed.
        StageError: the run was stopped.
    """
    ALL_CHILDREN.check()
    try:
        return subprocess.Popen(list(command), start_new_session=True, **options)
    except (FileNotFoundError, PermissionError) as error:
        if error.filename != command[0]:  # the folder to run in
            raise
        raise ToolError(
            f"The program {command[0]!r} is not installed or not on PATH: install it "
            "(on Debian or Ubuntu: apt-get install ffmpeg) and run again."
        ) from error


def kill_group(process: "subprocess.Popen[bytes]") -> None:
    """End a process and everything it started in its group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
