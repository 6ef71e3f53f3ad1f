"""Processes in groups of their own: how they are started, and ended together."""

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Sequence
from typing import Any

from storage.errors import StageError, ToolError


class ChildGroup:
    """Model processes that are ended together; once they are, no further one starts.

    Threads that wait for one, or ask for one, then get a `StageError`.
    """

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = threading.Event()

    @property
    def is_stopped(self) -> bool:
        """Whether the processes were ended."""
        return self._stopped.is_set()

    def is_stopped_within(self, seconds: float) -> bool:
        """Wait, and say whether the processes were ended before or meanwhile."""
        return self._stopped.wait(seconds)

    def stop(self) -> None:
        """End all processes, and let none start."""
        self._stopped.set()
        for process in tuple(self._running):
            kill_group(process)

    def allow(self) -> None:
        """Let processes start again."""
        self._stopped.clear()

    def add(self, process: "subprocess.Popen[bytes]") -> None:
        """Take in a process that has just started."""
        self._running.add(process)
        if self.is_stopped:  # since somebody looked
            kill_group(process)

    def discard(self, process: "subprocess.Popen[bytes]") -> None:
        """Let go of a process that has ended."""
        self._running.discard(process)

    def check(self) -> None:
        """Raise StageError where the processes were ended."""
        if self.is_stopped:
            raise StageError("The run was stopped: run again to go on.")


ALL_CHILDREN = ChildGroup()


def stop_children() -> None:
    """End all model processes and let no child start, until `allow_children`."""
    ALL_CHILDREN.stop()


def allow_children() -> None:
    """Let children start again."""
    ALL_CHILDREN.allow()


def is_stopped_within(seconds: float) -> bool:
    """Wait, and say whether all model processes were ended before or meanwhile."""
    return ALL_CHILDREN.is_stopped_within(seconds)


def start_process(command: Sequence[str], **options: Any) -> "subprocess.Popen[bytes]":
    """Start a program in a process group of its own, unless all were ended.

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
    """End a process and all that it started in its group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
