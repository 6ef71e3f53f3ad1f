"""A model's child process from its parent's side: start it, follow its lines, end it."""

import collections
import os
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from storage.errors import CrashError, WaverError
from tasks.processes.child_frame import FAILED
from tasks.processes.error_file import error_path_of, read_error
from tasks.processes.group import ALL_CHILDREN, ChildGroup, kill_group, start_process

# Beside decoders on the same cores, threads that wait by spinning took three quarters of the time.
YIELDING = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
_NUM_LAST_LINES = 40


def run_child(
    command: Sequence[str],
    *,
    on_line: Callable[[str], None],
    job_path: Path | None = None,
    environment: Mapping[str, str] | None = None,
    group: ChildGroup | None = None,
    descriptors: Sequence[int] = (),
) -> None:
    """Run a child process to its end and pass each line it prints to ``on_line``.

    ``job_path`` is the job that its command names: `run_as_child` reports errors beside it. Lines
    after such an error are a launcher's, and not passed on. The child's OpenMP threads sleep while
    they wait, unless this process's environment overrides it. The child inherits ``descriptors``.

    The child's stdin is a pipe: when this process dies, however it dies, the pipe closes and
    `end_with_parent` in the child ends the child's whole process group.

    Raises:
        WaverError: the error that the child reported.
        CrashError: the child failed without a report; the message ends with its last lines.
        StageError: the run, or the child's group, was stopped.
    """
    if job_path:
        error_path_of(job_path).unlink(missing_ok=True)  # of an earlier attempt
    groups = [ALL_CHILDREN, group or ALL_CHILDREN]
    process = _start(command, environment or {}, groups, descriptors)
    tail = collections.deque[str](maxlen=_NUM_LAST_LINES)
    threading.Thread(target=_end_group_after, args=(process,), daemon=True).start()
    with process:
        try:
            _follow(process, tail, on_line)
            status = process.wait()
        finally:
            kill_group(process)
            for each in groups:
                each.discard(process)
    if status != 0:
        for each in groups:
            each.check()
        raise (job_path and read_error(job_path)) or _crash(command, status, tail)


def _start(
    command: Sequence[str],
    environment: Mapping[str, str],
    groups: Sequence[ChildGroup],
    descriptors: Sequence[int],
) -> "subprocess.Popen[bytes]":
    for group in groups:
        group.check()
    process = start_process(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=tuple(descriptors),
        env={**YIELDING, **os.environ, **environment, "PYTHONUNBUFFERED": "1"},
    )
    for group in groups:
        group.add(process)
    return process


def _follow(
    process: "subprocess.Popen[bytes]",
    tail: "collections.deque[str]",
    on_line: Callable[[str], None],
) -> None:
    has_failed = False
    for raw_line in process.stdout or ():
        line = raw_line.decode(errors="replace").rstrip()
        tail.append(line)
        has_failed = has_failed or line == FAILED
        if not has_failed:
            on_line(line)


def _end_group_after(process: "subprocess.Popen[bytes]") -> None:
    """End what a child left behind: its output stays open as long as any descendant lives.

    Closing its stdin ends descendants in process groups of their own (`end_with_parent`).
    """
    process.wait()
    kill_group(process)
    if process.stdin is not None:
        process.stdin.close()


def _crash(command: Sequence[str], status: int, tail: Sequence[str]) -> WaverError:
    program = Path(command[0]).name
    name = next((part for part in reversed(command) if part.startswith("tasks.")), program)
    ended = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
    return CrashError(f"The child process {name!r} {ended}; it last printed:\n" + "\n".join(tail))
