"""Checks of `--out` before any work: its format, its folder, and whether it can be written."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from storage.errors import ConfigError
from storage.store.disk import creating

TABLE_FORMATS = (".csv", ".parquet")


def check_output_file(path: Path, formats: Sequence[str] = TABLE_FORMATS) -> None:
    """Raise if a file of one of these formats cannot be written; nothing is created.

    Raises:
        ConfigError: the suffix is unknown, the path is a folder, or its parent is missing.
        StoreError: the path cannot be written.
    """
    if path.suffix.lower() not in formats:
        *others, last = formats
        expected = f"{', '.join(others)} or {last}" if others else last
        raise ConfigError(f"The output file {str(path)!r} must end in {expected}: change --out.")
    with creating(str(path), "--out"):
        if path.is_dir():
            raise ConfigError(f"The output file {str(path)!r} is a folder: name a file with --out.")
    _check_parent(path)


def check_output_folder(path: Path) -> None:
    """Raise if a new folder cannot be written; nothing is created.

    Raises:
        ConfigError: the path exists and is not an empty folder, or its parent is missing.
        StoreError: the path cannot be written.
    """
    with creating(str(path), "--out"):
        if path.exists() and not (path.is_dir() and not any(path.iterdir())):
            raise ConfigError(
                f"The output folder {str(path)!r} already exists: name a new one with --out."
            )
    _check_parent(path)


def _check_parent(path: Path) -> None:
    with creating(str(path), "--out"):
        if not path.parent.is_dir():
            raise ConfigError(
                f"The folder {str(path.parent)!r} of --out does not exist: create it, or name "
                "another path with --out."
            )
        with tempfile.TemporaryFile(dir=path.parent):
            pass
