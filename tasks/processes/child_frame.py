"""The frame of a model's child process: what it prints, and how it ends.

Lines for the parent go to the standard output; all that libraries print goes to a log. A user's
error becomes the line by which the parent raises it again; of what nobody foresaw only the kind is
told, since its text may quote a person.
"""

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from storage.errors import CrashError, WaverError
from tasks.processes.child_process import end_with_parent, error_line

_MISTAKE, _FAILED = 2, 1


def run_as_child(name: str, log_path: Path, work: Callable[[TextIO], None]) -> int:
    """Do the work, which gets the stream to the parent; gives the exit status: 0, 1 or 2."""
    end_with_parent()
    out = _quiet(log_path)
    try:
        work(out)
    except WaverError as error:
        traceback.print_exc()
        print(error_line(error), file=out)
        return _MISTAKE
    except Exception as error:  # noqa: BLE001 - its text may quote a person: it stays in the log
        traceback.print_exc()
        print(error_line(CrashError(f"{name} failed ({type(error).__name__}).")), file=out)
        return _FAILED
    return 0


def _quiet(log_path: Path) -> TextIO:
    """Send what any library prints to a log; what is printed on the result reaches the parent."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1, encoding="utf-8")
    with log_path.open("wb") as log:
        os.dup2(log.fileno(), sys.stdout.fileno())
        os.dup2(log.fileno(), sys.stderr.fileno())
    return out
