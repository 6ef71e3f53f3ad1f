"""Files and folders of processes that are at work, in a local store or beside a remote one."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from storage.store.atomic import temporary_name
from storage.store.disk import space_on, writing_to


def folder_of_user() -> Path:
    """Return this user's folder of unfinished files on this node, for remote stores."""
    return Path(tempfile.gettempdir()) / f"waver-{os.getuid()}"


@contextlib.contextmanager
def staging_folder(parent: Path, location: str) -> Iterator[Path]:
    """Yield an empty folder below ``parent``, removed at the end.

    ``location`` is the store, which errors of the disk name.
    """
    folder = parent / temporary_name()
    with writing_to(location):
        folder.mkdir(parents=True)
    try:
        with space_on(str(parent)):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def sign_of_process(parent: Path, location: str) -> Iterator[None]:
    """Keep an empty file below ``parent`` for the block: this process is at work."""
    sign = parent / temporary_name()
    with writing_to(location):
        sign.touch()
    try:
        yield
    finally:
        sign.unlink(missing_ok=True)
