"""Run ffmpeg and ffprobe, and separate faults of the file from faults of the host."""

import errno
import os
import re
import signal
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ffmpeg

from storage.errors import ItemFault, StageError, ToolError, TransientFault
from tasks.processes.tool import ToolLimits, ToolResult, run_tool

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Each line of the log starts with its level. "Verbose" reports the size of the decoded frames.
_LOG = ("-hide_banner", "-nostats", "-loglevel", "level+verbose")
_LEVEL = re.compile(r"\[(quiet|panic|fatal|error|warning|info|verbose)\] ")
_STOPPED = re.compile(r"^(?:\[info\] )?Exiting normally, received signal (\d+)\.$", re.MULTILINE)
_ERRORS = ("panic", "fatal", "error")
_CORRUPT = "corrupt decoded frame"  # a warning
_OF_OUTPUT = "non monotonically increasing dts to muxer"  # written times are checked anyway
_NUM_TAIL_LINES = 40
# One video is cut per core: threads within one video cost a tenth more CPU time in total.
_ONE_THREAD = ("-filter_complex_threads", "1")
_CRASHES = {signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE, signal.SIGILL, signal.SIGBUS}


def input_url(path: Path) -> str:
    """Return a URL of a local file that ffmpeg cannot mistake for an option or a protocol."""
    return f"file:{path.resolve()}"


def open_input(path: Path, *, again: bool = False) -> Any:
    """Return an ffmpeg-python input that decodes what it can of a damaged file.

    ``again`` opens the file a second time in the same call: equal inputs are one.
    """
    options = {"seek_timestamp": 0} if again else {}
    return ffmpeg.input(input_url(path), err_detect="ignore_err", threads=1, **options)


def follow_clock(stream: Any) -> Any:
    """Return an output that reads a stream, and neither decodes nor keeps it.

    Where the timestamps of a file jump (joined MPEG transport streams), ffmpeg continues its clock
    by the packets that it reads. Calls that each decode one stream of a file have the same clock
    only if each reads both.
    """
    return ffmpeg.output(stream, "-", f="null", c="copy")


def compile_command(output: Any) -> list[str]:
    """Return the arguments of the ffmpeg call that writes an ffmpeg-python ``output``."""
    return list(output.global_args(*_LOG, *_ONE_THREAD).compile(overwrite_output=True))


def run_ffmpeg(command: Sequence[str], folder: Path | None, limits: ToolLimits) -> ToolResult:
    """Run an ffmpeg command in a folder; a nonzero exit status is not an error by itself.

    In the result ``stderr_tail`` and ``num_stderr_lines`` are those of the errors in the log.

    Raises:
        ItemFault: ffmpeg timed out or crashed on the file.
        StageError: ffmpeg was killed from outside.
        ToolError: ffmpeg is not installed, or was built without the encoder.
        OSError: the folder's disk is full.
    """
    result = run_tool(command, limits=limits, folder=folder)
    if result.timed_out:
        raise TransientFault(f"decoding timed out after {limits.seconds:.0f} s")
    errors = _errors_in(result.stderr.splitlines())
    result = replace(
        result, stderr_tail=tuple(errors[-_NUM_TAIL_LINES:]), num_stderr_lines=len(errors)
    )
    messages = "\n".join(result.stderr_tail)
    for number in _NO_SPACE:
        if f": {os.strerror(number)}" in messages:
            raise OSError(number, os.strerror(number), str(folder))
    if "Unknown encoder" in messages:
        raise ToolError(
            f"This ffmpeg cannot write H.264 ({last_message(result)}): install a full build "
            "(on Debian or Ubuntu: apt-get install ffmpeg) and run again."
        )
    _check_exit("ffmpeg", result)
    return result


def _errors_in(lines: Sequence[str]) -> list[str]:
    """Return the errors in ffmpeg's log, or all lines of a program that never starts a log."""
    levels = [_LEVEL.search(line) for line in lines]
    if not any(levels):
        return list(lines)
    return [
        line
        for line, level in zip(lines, levels, strict=True)
        if level and (level[1] in _ERRORS or _CORRUPT in line) and _OF_OUTPUT not in line
    ]


def run_ffprobe(path: Path, *arguments: str, limits: ToolLimits) -> ToolResult:
    """Run ffprobe on a file.

    Raises:
        ItemFault: ffprobe timed out, crashed on the file, or ran out of its memory limit.
        StageError: ffprobe was killed from outside.
        ToolError: ffprobe is not installed.
    """
    command = ["ffprobe", "-v", "error", "-threads", "1", *arguments, input_url(path)]
    result = run_tool(command, limits=limits)
    if result.timed_out:
        raise TransientFault(f"probing timed out after {limits.seconds:.0f} s")
    if result.status and result.out_of_memory:
        raise TransientFault(memory_reason(limits))
    _check_exit("ffprobe", result)
    return result


def _check_exit(program: str, result: ToolResult) -> None:
    """Raise if a signal ended the program: a crash is the file's fault, a kill is not."""
    if -result.status in _CRASHES:
        raise ItemFault(f"{program} crashed on this file (signal {-result.status})")
    # ffmpeg ends in order when it is stopped, as a service manager or cluster does to all processes
    # of a run; what it wrote until then looks like a damaged video.
    stopped = _STOPPED.search(result.stderr)
    if result.status < 0 or stopped:
        number = int(stopped[1]) if stopped else -result.status
        raise StageError(
            f"{program} was killed by signal {number} while processing a video: check that "
            "enough memory is available and run again; finished items are kept."
        )


def memory_reason(limits: ToolLimits) -> str:
    """Describe a file that exceeds the memory limit, and the setting that raises the limit."""
    return (
        f"decoding needs more than the {limits.memory_mb} MiB allowed for one ffmpeg process: if "
        "the file is intact, raise resources.segment.child_memory_mb and run again with "
        "--force segment"
    )


def error_cause(result: ToolResult, limits: ToolLimits) -> str:
    """Return the last error message, or the memory limit if that caused it."""
    return memory_reason(limits) if result.out_of_memory else last_message(result)


def last_message(result: ToolResult) -> str:
    """Return the last line of stderr without ffmpeg's ``[component @ address]`` prefix."""
    return result.stderr_tail[-1].split("] ")[-1] if result.stderr_tail else ""


def read_rows(result: ToolResult, kind: str) -> Iterable[dict[str, str]]:
    """Parse ffprobe's compact output, lines of ``kind|name=value|...``."""
    for line in result.output.decode(errors="replace").splitlines():
        name, *pairs = line.split("|")
        if name == kind:
            yield dict(pair.split("=", 1) for pair in pairs if "=" in pair)
