"""Short-lived programs: no shell, closed stdin, limits of time and memory, their last words."""

import contextlib
import resource
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.processes.group import kill_group, start_process

_STDERR_LINES = 40
_MIB = 1 << 20
# How the C library, the loader, x264 and ffmpeg's decoders say that there is no memory left.
_NO_MEMORY = (
    b"Cannot allocate memory",
    b"failed to map segment",
    b"malloc of size",
    b"get_buffer() failed",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolLimits:
    """What one short-lived child may take: wall seconds, and MiB of address space."""

    seconds: float
    memory_mb: int = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """How a child process ended: its status, its output and the last lines of its stderr.

    ``out_of_memory`` is true if it complained, in any line, that it got no more memory.
    """

    status: int
    output: bytes
    stderr_tail: tuple[str, ...]
    num_stderr_lines: int
    timed_out: bool
    out_of_memory: bool


def _limit_memory(process: "subprocess.Popen[bytes]", memory_mb: int) -> None:
    """Bound a child's address space from outside: code of ours between fork and exec may deadlock.

    Children of the child inherit the bound.
    """
    bound = memory_mb * _MIB
    with contextlib.suppress(ProcessLookupError):
        resource.prlimit(process.pid, resource.RLIMIT_AS, (bound, bound))


def run_tool(
    command: Sequence[str], *, limits: ToolLimits, folder: Path | None = None
) -> ToolResult:
    """Run a short-lived program to its end; past the time its whole process group is killed.

    ``folder`` is where the program runs, and where its relative paths lie.

    Raises:
        ToolError: the program is not installed.
    """
    process = start_process(
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
        kill_group(process)
        output, stderr = process.communicate()
    except BaseException:
        kill_group(process)
        process.communicate()
        raise
    lines = stderr.decode(errors="replace").splitlines()
    return ToolResult(
        status=process.returncode,
        output=output,
        stderr_tail=tuple(lines[-_STDERR_LINES:]),
        num_stderr_lines=len(lines),
        timed_out=timed_out,
        out_of_memory=any(mark in stderr for mark in _NO_MEMORY),
    )
