"""Exit statuses of `waver`."""

from enum import IntEnum


class ExitStatus(IntEnum):
    """How a command ended."""

    DONE = 0
    FAILED = 1
    MISTAKE = 2
    SOME_REJECTED = 3
    HUNG_UP = 129
    INTERRUPTED = 130
    TERMINATED = 143


MEANINGS = {
    ExitStatus.DONE: "done",
    ExitStatus.FAILED: "a stage failed, or a check found a problem",
    ExitStatus.MISTAKE: "a mistake in the command, settings or data, explained in one sentence",
    ExitStatus.SOME_REJECTED: "finished, but some videos or segments were rejected",
    ExitStatus.HUNG_UP: "ended by SIGHUP (the terminal was closed); finished results are kept",
    ExitStatus.INTERRUPTED: "interrupted with Ctrl-C; finished results are kept",
    ExitStatus.TERMINATED: "ended by SIGTERM; finished results are kept",
}
