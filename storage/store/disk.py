"""Errors of a disk that a user can act on, each turned into one sentence."""

import contextlib
import errno
from collections.abc import Iterator

from storage.errors import StoreError

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NOT_WRITABLE = (
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST,
    errno.EIO, errno.ESTALE, errno.ENAMETOOLONG, errno.ELOOP,
)  # fmt: skip


@contextlib.contextmanager
def writing_to(location: str, option: str = "--store") -> Iterator[None]:
    """Raise `StoreError` if the block finds a location not writable, or its disk full.

    Other errors pass through: a missing file, for one, is more likely a fault of the program.
    """
    try:
        with space_on(location, option):
            yield
    except OSError as error:
        if error.errno not in _NOT_WRITABLE:
            raise
        raise _not_writable(location, option, error) from error


@contextlib.contextmanager
def creating(location: str, option: str = "--store") -> Iterator[None]:
    """Raise `StoreError` for every error of the operating system in the block.

    For blocks that create what the user named: `/proc/x`, for one, is reported as missing.
    """
    try:
        with writing_to(location, option):
            yield
    except OSError as error:
        raise _not_writable(location, option, error) from error


@contextlib.contextmanager
def space_on(location: str, option: str = "--store") -> Iterator[None]:
    """Raise `StoreError` if a disk, quota or file size limit is reached in the block."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_SPACE:
            raise
        raise StoreError(
            f"No space left while writing to {location!r} ({error.strerror}): free some space or "
            f"name another location with {option}; everything finished so far is kept."
        ) from error


def _not_writable(location: str, option: str, error: OSError) -> StoreError:
    return StoreError(
        f"Cannot write to {location!r} ({error.strerror or error}): name a writable location "
        f"with {option}."
    )
