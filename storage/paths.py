"""Paths inside a data set: nothing outside the data root is ever opened."""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

from storage.errors import DataError
from storage.fingerprint import digest_of

VIDEO_SUFFIXES = frozenset(
    {".3gp", ".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg"}
    | {".mts", ".ogv", ".ts", ".webm", ".wmv"}
)


def path_key(video_id: str) -> str:
    """Return the 8 hexadecimal digits that identify a video in the names of stored files."""
    return digest_of(video_id)[:8]


def resolve_inside(root: Path, name: str) -> Path:
    """Resolve a relative path under `root`; it need not exist.

    Raises:
        DataError: the path is empty or absolute, contains `..` or a NUL byte, is not valid
            Unicode, or leaves the root through a link.
    """
    if any("\ud800" <= character <= "\udfff" for character in name):
        raise DataError(f"The path {name!r} is not valid Unicode: rename the file.")
    steps = PurePosixPath(name).parts
    if not steps or PurePosixPath(name).is_absolute() or PureWindowsPath(name).drive:
        raise DataError(f"The path {name!r} is not relative to the data folder.")
    if ".." in steps or "\0" in name:
        raise DataError(f"The path {name!r} leaves the data folder: '..' is not allowed.")
    path = root.joinpath(*steps)
    if not path.resolve().is_relative_to(root.resolve()):
        raise DataError(f"The path {name!r} leaves the data folder through a link.")
    return path


def iter_video_names(root: Path, *, skipping: frozenset[str] = frozenset()) -> Iterator[str]:
    """Yield files with a video suffix under `root`, as sorted relative paths with forward slashes.

    Skips hidden files and folders, folders named in `skipping`, and links to folders.
    """
    for folder, folders, names in os.walk(root, followlinks=False):
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and name not in skipping
        )
        for name in sorted(names):
            if not name.startswith(".") and Path(name).suffix.lower() in VIDEO_SUFFIXES:
                yield (Path(folder) / name).relative_to(root).as_posix()
