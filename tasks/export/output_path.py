"""Where exports go: a place that takes them; files and folders appear whole or not at all."""

import tempfile
from pathlib import Path

from storage.errors import ConfigError
from storage.store.disk import creating


def check_place(path: Path) -> None:
    """Refuse a place that takes no file, before any work.

    Raises:
        StoreError: it cannot be written; nothing is left there.
    """
    with creating(str(path), "--out"), tempfile.TemporaryFile(dir=_nearest_there(path.parent)):
        pass


def check_out_folder(path: Path) -> None:
    """Refuse a folder that holds something, or a place that takes none, before any work.

    Raises:
        ConfigError: something has that name already.
        StoreError: the place cannot be written; nothing is left there.
    """
    with creating(str(path), "--out"):
        if path.exists() and not (path.is_dir() and not any(path.iterdir())):
            raise ConfigError(
                f"The export {str(path)!r} is there already: name a folder that is not, with --out."
            )
    check_place(path)


def _nearest_there(folder: Path) -> Path:
    return next(location for location in (folder, *folder.absolute().parents) if location.exists())
