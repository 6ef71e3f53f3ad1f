"""Short-lived programs such as ffmpeg: no shell, no stdin, limits of time and memory."""

import contextlib
import resource
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.processes.group import kill_group, start_process

_NUM_TAIL_LINES = 40
_MIB = 1 << 20
# Messages of the C library, the loader, x264 and ffmpeg's decoders when memory runs out.
_NO_MEMORY = (
    b"Cannot allocate memory",
    b"failed to map segment",
    b"malloc of size",
    b"get_buffer() failed",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolLimits:
    """What one run of a program may take: wall-clock seconds and MiB of address space."""

    seconds: float
    memory_mb: int = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """Exit status and output of a program that has ended.

    ``stderr_tail`` are the last lines of ``stderr``. ``out_of_memory`` is whether any of its lines
    reports that memory ran out.
    """

    status: int
    output: bytes
    stderr: str
    stderr_tail: tuple[str, ...]
    num_stderr_lines: int
    timed_out: bool
    out_of_memory: bool


def _limit_memory(process: "subprocess.Popen[bytes]", memory_mb: int) -> None:
    """Limit a process's address space, which its children inherit.

    From outside: Python code between fork and exec may deadlock.
    """
    limit = memory_mb * _MIB
    with contextlib.suppress(ProcessLookupError):
        resource.prlimit(process.pid, resource.RLIMIT_AS, (limit, limit))


def run_tool(
    command: Sequence[str], *, limits: ToolLimits, folder: Path | None = None
) -> ToolResult:
    """Run a program to its end; after its time limit the whole process group is killed.

    ``folder`` is its working directory.

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
    text = stderr.decode(errors="replace")
    lines = text.splitlines()
    return ToolResult(
        status=process.returncode,
        output=output,
        stderr=text,
        stderr_tail=tuple(lines[-_NUM_TAIL_LINES:]),
        num_stderr_lines=len(lines),
        timed_out=timed_out,
        out_of_memory=any(mark in stderr for mark in _NO_MEMORY),
    )
