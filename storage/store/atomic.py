"""Write local files and folders so that they appear whole or not at all.

Content is written under a temporary name, flushed to the disk and renamed. A temporary name
identifies its process, so that `remove_abandoned` removes what killed processes left behind.
"""

import contextlib
import errno
import os
import re
import shutil
import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from storage.fingerprint import digest_of

_WEEK_SECONDS = 7 * 24 * 3600
_TEMPORARY_NAME = re.compile(r"\.?([0-9a-f]{8})-(\d+)-[0-9a-f]{12}")


@contextlib.contextmanager
def atomic_file(
    path: Path, *, temporary_folder: Path | None = None, flush: bool = True
) -> Iterator[Path]:
    """Yield a temporary path without a suffix, which replaces ``path`` after the block.

    ``temporary_folder``, on the same disk, is ``path``'s own by default. Without ``flush`` a power
    failure may leave a truncated file; a killed process never does.
    """
    folder = temporary_folder or path.parent
    temporary = folder / f".{temporary_name()}"
    for needed in {folder, path.parent}:
        needed.mkdir(parents=True, exist_ok=True)
    try:
        yield temporary
        if flush:
            _flush(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: Path, *, keep_existing: bool = False) -> Iterator[Path]:
    """Yield an empty temporary folder beside ``path``, which is renamed to it after the block.

    ``keep_existing`` is for folders named by their content: one that another process created in
    the meantime is as good.

    Raises:
        OSError: ``path`` exists and is not an empty folder, unless ``keep_existing``.
    """
    temporary = path.absolute().with_name(f".{temporary_name()}")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        try:
            temporary.rename(path)
        except OSError:
            if not (keep_existing and path.is_dir()):
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def replace_folder(temporary: Path, path: Path) -> None:
    """Flush a finished folder's files to the disk and rename it to ``path``, replacing that."""
    for file in temporary.rglob("*"):
        _flush(file)
    shutil.rmtree(path, ignore_errors=True)
    temporary.rename(path)


def move_file(source: Path, path: Path, *, temporary_folder: Path) -> None:
    """Move a finished file to ``path``, also from another disk."""
    _flush(source)
    try:
        source.replace(path)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with atomic_file(path, temporary_folder=temporary_folder) as temporary:
            shutil.copyfile(source, temporary)
        source.unlink()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def temporary_name() -> str:
    """Return a unique name that identifies this host and process."""
    return f"{_host_digest()}-{os.getpid()}-{uuid.uuid4().hex[:12]}"


def remove_abandoned(folder: Path) -> int:
    """Remove the temporary files and folders of dead processes; returns how many.

    Those of other hosts, whose processes cannot be checked, are removed after a week without a
    change.
    """
    if not folder.is_dir():
        return 0
    abandoned = [path for path in folder.iterdir() if is_abandoned(path)]
    for path in abandoned:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return len(abandoned)


def is_abandoned(path: Path) -> bool:
    """Return whether a path has a temporary name of a process that is dead, or gone for a week."""
    name = _TEMPORARY_NAME.fullmatch(path.name)
    if name is None:
        return False
    if name[1] == _host_digest():
        return is_of_dead_process(path.name)
    try:
        return time.time() - path.stat().st_mtime > _WEEK_SECONDS
    except FileNotFoundError:  # another process removed it
        return False


def is_of_dead_process(name: str) -> bool:
    """Return whether a name is a temporary one of a process of this host that is gone."""
    found = _TEMPORARY_NAME.fullmatch(name)
    return found is not None and found[1] == _host_digest() and not _is_alive(int(found[2]))


def _host_digest() -> str:
    """Identify the host and, among its containers, the process namespace that numbers processes."""
    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        namespace = ""
    return digest_of(socket.gethostname(), namespace)[:8]


def _is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _is_zombie(process_id)


def _is_zombie(process_id: int) -> bool:
    """Return whether a process has ended, although its parent has not noticed yet."""
    try:
        stat = Path(f"/proc/{process_id}/stat").read_bytes()
    except OSError:
        return False
    return stat.rpartition(b")")[2].split()[:1] in ([b"Z"], [b"X"])
