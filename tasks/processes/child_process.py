"""Long child processes that work with a model: their lines, their errors, their end."""

import collections
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from storage import errors
from storage.errors import CrashError, StageError, WaverError
from tasks.processes.group import ALL_CHILDREN, ChildGroup, kill_group, start_process

ERROR = "error: "
# Beside decoders on the same cores, threads that wait by spinning took three quarters of the time.
YIELDING = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
_NUM_LAST_LINES = 40


def run_worker(
    command: Sequence[str],
    *,
    on_line: Callable[[str], None],
    environment: Mapping[str, str] | None = None,
    group: ChildGroup | None = None,
) -> None:
    """Run a long model process, handing on each line it prints, until it or its group is ended.

    Its OpenMP threads sleep while they wait, unless this process's environment says otherwise.

    The child holds the read end of a pipe as its stdin: when this process dies, however it dies,
    the pipe closes and `end_with_parent` in the child ends the child's whole process group.

    Raises:
        WaverError: the error that the child told with `error_line`.
        CrashError: the child ended otherwise, and not with status 0; carries what it last printed.
    """
    groups = [ALL_CHILDREN, group or ALL_CHILDREN]
    process = _start_worker(command, environment or {}, groups)
    tail: collections.deque[str] = collections.deque(maxlen=_NUM_LAST_LINES)
    message: list[str] = []
    threading.Thread(target=_end_group_after, args=(process,), daemon=True).start()
    with process:
        try:
            for raw_line in process.stdout or ():
                line = raw_line.decode(errors="replace").rstrip()
                tail.append(line)
                message += [line] if line.startswith(ERROR) else []
                on_line(line)
            status = process.wait()
        finally:
            kill_group(process)
            for each in groups:
                each.discard(process)
    if status != 0:
        for each in groups:
            each.check()
        raise _error_of(command, status, tail, message)


def _start_worker(
    command: Sequence[str], environment: Mapping[str, str], groups: Sequence[ChildGroup]
) -> "subprocess.Popen[bytes]":
    for group in groups:
        group.check()
    process = start_process(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**YIELDING, **os.environ, **environment, "PYTHONUNBUFFERED": "1"},
    )
    for group in groups:
        group.add(process)
    return process


def _end_group_after(process: "subprocess.Popen[bytes]") -> None:
    """End what a child left behind: as long as it lives, the child's output never ends.

    Closing its stdin ends those in process groups of their own (`end_with_parent`).
    """
    process.wait()
    kill_group(process)
    if process.stdin is not None:
        process.stdin.close()


def error_line(error: WaverError) -> str:
    """Write an error as the line by which a child's error is raised again in its parent.

    A status alone would not do: launchers between the two replace it.
    """
    return f"{ERROR}{type(error).__name__}: {' '.join(str(error).split())}"


def _error_of(
    command: Sequence[str], status: int, tail: Sequence[str], message: Sequence[str]
) -> WaverError:
    """Prefer the child's own clear sentence (a line that begins with `error: `) over its tail.

    Of several the first: a launcher's other children fail because one did.
    """
    if message:
        return _told_error(message[0].removeprefix(ERROR))
    program = Path(command[0]).name
    name = next((part for part in reversed(command) if part.startswith("tasks.")), program)
    ended = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
    return CrashError(f"The child process {name!r} {ended}; it last printed:\n" + "\n".join(tail))


def _told_error(message: str) -> WaverError:
    """Raise a user's mistake as what it is; whatever names no class is a failed stage."""
    name, _, sentence = message.partition(": ")
    error_class = getattr(errors, name, None) if name.isidentifier() else None
    if isinstance(error_class, type) and issubclass(error_class, WaverError):
        return error_class(sentence)
    return StageError(message)


def is_lack_of_memory(error: Exception) -> bool:
    """Know it by the words of torch's allocators, which differ by device and raise RuntimeError."""
    message = str(error)
    return (
        isinstance(error, MemoryError) or "out of memory" in message or "allocate memory" in message
    )


def end_with_parent() -> None:
    """In a child process started by `run_worker`: end the process group when the parent is gone."""

    def watch() -> None:
        while os.read(0, 1024):
            pass
        os.killpg(os.getpgid(0), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True, name="end-with-parent").start()
