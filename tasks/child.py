"""Child processes: no shell, closed stdin, limits of time and memory, their last words."""

import collections
import contextlib
import os
import resource
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage import errors
from storage.errors import CrashError, StageError, ToolError, WaverError

_STDERR_LINES = 40
ERROR = "error: "
_MIB = 1 << 20
# Beside decoders on the same cores, threads that wait by spinning took three quarters of the time.
YIELDING = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
# How the C library, the loader, x264 and ffmpeg's decoders say that there is no memory left.
_NO_MEMORY = (
    b"Cannot allocate memory",
    b"failed to map segment",
    b"malloc of size",
    b"get_buffer() failed",
)


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
            _kill_group(process)

    def allow(self) -> None:
        """Let processes start again."""
        self._stopped.clear()

    def add(self, process: "subprocess.Popen[bytes]") -> None:
        """Take in a process that has just started."""
        self._running.add(process)
        if self.is_stopped:  # since somebody looked
            _kill_group(process)

    def discard(self, process: "subprocess.Popen[bytes]") -> None:
        """Let go of a process that has ended."""
        self._running.discard(process)

    def check(self) -> None:
        """Raise StageError where the processes were ended."""
        if self.is_stopped:
            raise StageError("The run was stopped: run again to go on.")


_ALL = ChildGroup()


def stop_children() -> None:
    """End all model processes and let no child start, until `allow_children`."""
    _ALL.stop()


def allow_children() -> None:
    """Let children start again."""
    _ALL.allow()


def is_stopped_within(seconds: float) -> bool:
    """Wait, and say whether all model processes were ended before or meanwhile."""
    return _ALL.is_stopped_within(seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildLimits:
    """What one short-lived child may take: wall seconds, and MiB of address space."""

    seconds: float
    memory_mb: int = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildResult:
    """How a child process ended: its status, its output and the last lines of its stderr.

    ``out_of_memory`` is true if it complained, in any line, that it got no more memory.
    """

    status: int
    output: bytes
    stderr_tail: tuple[str, ...]
    num_stderr_lines: int
    timed_out: bool
    out_of_memory: bool


def _start(command: Sequence[str], **options: Any) -> "subprocess.Popen[bytes]":
    _ALL.check()
    try:
        return subprocess.Popen(list(command), start_new_session=True, **options)
    except (FileNotFoundError, PermissionError) as error:
        if error.filename != command[0]:  # the folder to run in
            raise
        raise ToolError(
            f"The program {command[0]!r} is not installed or not on PATH: install it "
            "(on Debian or Ubuntu: apt-get install ffmpeg) and run again."
        ) from error


def _kill_group(process: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _limit_memory(process: "subprocess.Popen[bytes]", memory_mb: int) -> None:
    """Bound a child's address space from outside: code of ours between fork and exec may deadlock.

    Children of the child inherit the bound.
    """
    bound = memory_mb * _MIB
    with contextlib.suppress(ProcessLookupError):
        resource.prlimit(process.pid, resource.RLIMIT_AS, (bound, bound))


def run_tool(
    command: Sequence[str], *, limits: ChildLimits, folder: Path | None = None
) -> ChildResult:
    """Run a short-lived program to its end; past the time its whole process group is killed.

    ``folder`` is where the program runs, and where its relative paths lie.

    Raises:
        ToolError: the program is not installed.
    """
    process = _start(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
    )
    timed_out = False
    try:
        _limit_memory(process, limits.memory_mb)
        output, stderr = process.communicate(timeout=limits.seconds)
    except subprocess.TimeoutExpired:
        timed_out = True
        _kill_group(process)
        output, stderr = process.communicate()
    except BaseException:
        _kill_group(process)
        process.communicate()
        raise
    lines = stderr.decode(errors="replace").splitlines()
    return ChildResult(
        status=process.returncode,
        output=output,
        stderr_tail=tuple(lines[-_STDERR_LINES:]),
        num_stderr_lines=len(lines),
        timed_out=timed_out,
        out_of_memory=any(mark in stderr for mark in _NO_MEMORY),
    )


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
    groups = [_ALL, group or _ALL]
    process = _start_worker(command, environment or {}, groups)
    tail: collections.deque[str] = collections.deque(maxlen=_STDERR_LINES)
    told: list[str] = []
    threading.Thread(target=_end_group_after, args=(process,), daemon=True).start()
    with process:
        try:
            for raw_line in process.stdout or ():
                line = raw_line.decode(errors="replace").rstrip()
                tail.append(line)
                told += [line] if line.startswith(ERROR) else []
                on_line(line)
            status = process.wait()
        finally:
            _kill_group(process)
            for each in groups:
                each.discard(process)
    if status != 0:
        for each in groups:
            each.check()
        raise _error_of(command, status, tail, told)


def _start_worker(
    command: Sequence[str], environment: Mapping[str, str], groups: Sequence[ChildGroup]
) -> "subprocess.Popen[bytes]":
    for group in groups:
        group.check()
    process = _start(
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
    _kill_group(process)
    if process.stdin is not None:
        process.stdin.close()


def error_line(error: WaverError) -> str:
    """Write an error as the line by which a child's error is raised again in its parent.

    A status alone would not do: launchers between the two replace it.
    """
    return f"{ERROR}{type(error).__name__}: {' '.join(str(error).split())}"


def _error_of(
    command: Sequence[str], status: int, tail: Sequence[str], told: Sequence[str]
) -> WaverError:
    """Prefer the child's own clear sentence (a line that begins with `error: `) over its tail.

    Of several the first: a launcher's other children fail because one did.
    """
    if told:
        return _told_error(told[0].removeprefix(ERROR))
    program = Path(command[0]).name
    name = next((part for part in reversed(command) if part.startswith("tasks.")), program)
    ended = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
    return CrashError(f"The child process {name!r} {ended}; it last printed:\n" + "\n".join(tail))


def _told_error(told: str) -> WaverError:
    """Raise a user's mistake as what it is; whatever names no class is a failed stage."""
    name, _, sentence = told.partition(": ")
    error_class = getattr(errors, name, None) if name.isidentifier() else None
    if isinstance(error_class, type) and issubclass(error_class, WaverError):
        return error_class(sentence)
    return StageError(told)


def is_lack_of_memory(error: Exception) -> bool:
    """Know it by the words of torch's allocators, which differ by device and raise RuntimeError."""
    said = str(error)
    return isinstance(error, MemoryError) or "out of memory" in said or "allocate memory" in said


def end_with_parent() -> None:
    """In a child process started by `run_worker`: end the process group when the parent is gone."""

    def watch() -> None:
        while os.read(0, 1024):
            pass
        os.killpg(os.getpgid(0), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True, name="end-with-parent").start()
