"""Paths inside a data set: nothing outside the data root is ever opened."""

import os
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath

from storage.errors import DataError
from storage.fingerprint import digest_of

# Files of video that ffmpeg reads and that contain times or a frame rate: of phones, cameras,
# camcorders, DVDs, broadcast and screen recorders. Bare streams without (.h264, .hevc, .mjpeg) are
# left out.
_CONTAINERS = """
3g2 3gp 3gp2 3gpp asf avi divx dv dvr-ms f4v flv m1v m2t m2ts m2v m4v mk3d mkv mod mov mp4 mpe mpeg
mpg mpv mts mxf nut ogm ogv ogx qt rm rmvb tod tp trp ts vob webm wmv wtv xvid
"""
VIDEO_SUFFIXES = frozenset(f".{suffix}" for suffix in _CONTAINERS.split())

_PREFIX_LENGTH = 40
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")


def path_key(video_id: str) -> str:
    """Return the 8 hexadecimal digits that identify a video in the names of stored files."""
    return digest_of(video_id)[:8]


def stored_name(source: PurePath, video_id: str, digest: str) -> str:
    """Return the name of a video's folder in a store, at most 62 ASCII characters.

    Two digests identify the video and its content. The readable prefix has only letters, digits,
    `_` and `-`, so that every file system, object store and program takes the name.
    """
    ascii_stem = unicodedata.normalize("NFKD", source.stem).encode("ascii", "ignore").decode()
    prefix = _UNSAFE.sub("_", ascii_stem).strip("_-")[:_PREFIX_LENGTH]
    return f"{prefix or 'video'}-{path_key(video_id)}-{digest[:12]}"


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


def reason_not_found(root: Path, name: str) -> str | None:
    """Return why `iter_video_names` leaves out a file that exists; ``None`` if none exists."""
    path = root / name
    try:
        if not path.is_file():
            return None
    except OSError:
        return None
    if path.suffix.lower() not in VIDEO_SUFFIXES:
        return (
            f"the file is left out, as its suffix {path.suffix!r} is not one of "
            f"{' '.join(sorted(VIDEO_SUFFIXES))}: convert it, or rename it if it is a video"
        )
    if any(step.startswith(".") for step in PurePosixPath(name).parts):
        return "the file is left out, as it or its folder is hidden (its name starts with a dot)"
    return "the file is left out, as its folder is a link or one that holds no source videos"
