"""Processes of one disturbed run, found by a mark in the environment that all of them inherit."""

import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MARK = "WAVER_CHAOS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A live process: its id and its command line."""

    process_id: int
    command: str


def find_marked(mark: str) -> list[Process]:
    """List the processes whose environment contains this mark, oldest first.

    Those that have ended and that nobody waited for (zombies) have no environment any more. Process
    ids start again at 1 when they run out, so they do not show which is older.
    """
    entry, found = f"{MARK}={mark}".encode(), list[tuple[int, int, Process]]()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal() or int(folder.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if entry in (folder / "environ").read_bytes().split(b"\0"):
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                started = int((folder / "stat").read_text().rpartition(")")[2].split()[19])
                process = Process(process_id=int(folder.name), command=command)
                found.append((started, process.process_id, process))
    return [process for *_, process in sorted(found, key=lambda each: each[:2])]


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait until a condition holds; return whether it does."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def end_marked(mark: str) -> None:
    """Kill what a run left behind."""
    for process in find_marked(mark):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.process_id, signal.SIGKILL)
