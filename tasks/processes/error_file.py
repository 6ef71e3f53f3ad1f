"""How an error gets from a child process to its parent: a JSON file beside the child's job."""

import contextlib
import json
import os
import tempfile
from pathlib import Path

from storage import errors
from storage.errors import StageError, WaverError

_RESERVED_BYTES = 4096


def log_path_of(job_path: Path) -> Path:
    """Return the file that receives everything the libraries of a job's child print."""
    return job_path.with_suffix(".log")


def error_path_of(job_path: Path) -> Path:
    """Return the file in which a job's child reports the error that ended it."""
    return job_path.with_suffix(".error.json")


class ErrorFile:
    """A child's report of the error that ends it, with its disk space reserved from the start.

    A full disk may be the error to report.
    """

    def __init__(self, job_path: Path) -> None:
        self._path = error_path_of(job_path)
        handle, name = tempfile.mkstemp(dir=job_path.parent, prefix=f".{self._path.name}-")
        self._reserved = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(b" " * _RESERVED_BYTES)

    def write(self, error: WaverError) -> None:
        """Write an error's class and message, unless another process of the job was first.

        The first error is the cause: the other processes of a launcher fail because one did.
        Details name people and are left out, since a file may outlive a killed run.
        """
        content = json.dumps({"error": type(error).__name__, "message": str(error)}).encode()
        with self._reserved.open("r+b") as file:
            file.write(content)
            file.truncate()
        with contextlib.suppress(FileExistsError):
            os.link(self._reserved, self._path)  # atomic, and unlike a rename never replaces

    def close(self) -> None:
        """Release the reserved space; a written report stays."""
        self._reserved.unlink(missing_ok=True)


def read_error(job_path: Path) -> WaverError | None:
    """Read the error that a job's child reported: `None` if it reported none.

    An unknown class becomes a `StageError`.
    """
    try:
        content = json.loads(error_path_of(job_path).read_bytes())
        name, message = str(content["error"]), str(content["message"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    error_class = getattr(errors, name, None)
    if isinstance(error_class, type) and issubclass(error_class, WaverError):
        return error_class(message)
    return StageError(message)
