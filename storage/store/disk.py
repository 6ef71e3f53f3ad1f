"""What a disk may refuse, and whose temporary files lie on it."""

import contextlib
import errno
import os
import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from storage.errors import StoreError
from storage.fingerprint import digest_of

_WEEK_SECONDS = 7 * 24 * 3600
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REFUSED = (
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST,
    errno.EIO, errno.ESTALE, errno.ENAMETOOLONG, errno.ELOOP,
)  # fmt: skip


@contextlib.contextmanager
def writing_to(location: str) -> Iterator[None]:
    """Turn the operating system's refusals into one clear sentence."""
    try:
        with space_on(location):
            yield
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        raise StoreError(
            f"Cannot write to {location!r} ({error.strerror}): name a folder you may write to "
            "with --store."
        ) from error


@contextlib.contextmanager
def space_on(location: str) -> Iterator[None]:
    """Turn a full disk, quota or file size limit, and nothing else, into one clear sentence."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_SPACE:
            raise
        raise StoreError(
            f"No space left while writing to {location!r} ({error.strerror}): free some space or "
            "name another place with --store; everything finished so far is kept."
        ) from error


def temporary_name() -> str:
    """Name the machine and the process, by which what killed runs left behind is known."""
    return f"{_machine()}-{os.getpid()}-{uuid.uuid4().hex[:12]}"


def _machine() -> str:
    """Tell apart machines, and containers of one machine, whose process ids mean nothing here."""
    try:
        numbers = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        numbers = ""
    return digest_of(socket.gethostname(), numbers)[:8]


def is_abandoned(path: Path) -> bool:
    """Say whether the process that holds a temporary file or folder has died."""
    machine, _, rest = path.name.partition("-")
    process_id = rest.partition("-")[0]
    if machine == _machine() and process_id.isdigit():
        return not _is_alive(int(process_id))
    return time.time() - path.stat().st_mtime > _WEEK_SECONDS


def _is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
