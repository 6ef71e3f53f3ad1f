"""Where exports go: a place that takes them; files and folders appear whole or not at all."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from storage.errors import ConfigError, StoreError
from storage.store.disk import temporary_name


def check_place(path: Path) -> None:
    """Refuse a place that takes no file, before any work.

    Raises:
        StoreError: it cannot be written; nothing is left there.
    """
    with _writing(path), tempfile.TemporaryFile(dir=_nearest_there(path.parent)):
        pass


def check_out_folder(path: Path) -> None:
    """Refuse a folder that holds something, or a place that takes none, before any work.

    Raises:
        ConfigError: something has that name already.
        StoreError: the place cannot be written; nothing is left there.
    """
    with _writing(path):
        if path.exists() and not (path.is_dir() and not any(path.iterdir())):
            raise ConfigError(
                f"The export {str(path)!r} is there already: name a folder that is not, with --out."
            )
    check_place(path)


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Lend a temporary path beside a file, which it replaces if all goes well.

    Raises:
        StoreError: the place cannot be written, or is full; nothing is left there.
    """
    unfinished = path.with_name(f".{temporary_name()}")
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield unfinished
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Lend an empty folder beside the place that it is renamed to if all goes well.

    Raises:
        StoreError: the place cannot be written, or is full; nothing is left there.
    """
    unfinished = path.absolute().with_name(f".{temporary_name()}")
    with _writing(path):
        unfinished.mkdir(parents=True)
        try:
            yield unfinished
            unfinished.rename(path)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


def _nearest_there(folder: Path) -> Path:
    return next(location for location in (folder, *folder.absolute().parents) if location.exists())


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"Cannot write {str(path)!r} ({error.strerror}): name another place with --out."
        ) from error
