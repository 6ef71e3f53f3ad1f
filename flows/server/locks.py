"""The three locks of a history, by which a server lives from its first user to its last.

The kernel releases a lock when its process ends, however it ends:

- `server.users`: every command that uses the server holds it, shared;
- `server.start`: held while a server is started, joined or ended, so that this happens once;
- `server.alive`: the server holds it from its first to its last moment.
"""

import contextlib
import fcntl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

USERS, START, ALIVE = "server.users", "server.start", "server.alive"
_POLL_SECONDS = 0.05


@contextlib.contextmanager
def use(history: Path) -> Iterator[IO[str]]:
    """Be a user of the server in the body; waits while a server is ending."""
    with (history / USERS).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield file


def lock(path: Path, seconds: float = 0.0) -> IO[str] | None:
    """Return the file with an exclusive lock, or None if it was not free within the seconds.

    Closing the file releases the lock, unless another process has inherited it.
    """
    file = path.open("w")
    if upgrade_within(file, seconds):
        return file
    file.close()
    return None


def upgrade_within(file: IO[str], seconds: float) -> bool:
    """Make a lock exclusive, retrying for some seconds: the server looks for users now and then."""
    deadline = time.monotonic() + seconds
    while not upgrade(file):
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def upgrade(file: IO[str]) -> bool:
    """Make the lock of an open file exclusive; returns False if another process holds it too."""
    return _try(file, fcntl.LOCK_EX)


def _try(file: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_alive(history: Path) -> bool:
    """Return whether the process of the history's server lives, however busy it is."""
    with (history / ALIVE).open("w") as file:
        return not _try(file, fcntl.LOCK_SH)  # shared: those who look do not see each other


def has_users(history: Path) -> bool:
    """Return whether any command uses the server."""
    file = lock(history / USERS)
    if file is None:
        return True
    file.close()
    return False
