"""Single videos, wherever they lie, as a data set: a file that lists them takes a folder's place.

Such a list is written for one call and not kept. A video's id is its whole path, so that two files
of one name are told apart, and a file that is asked about again is known.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from storage.datasets.dataset import Dataset
from storage.errors import DataError
from storage.records import VideoId, VideoRecord

LIST_NAME = "listed-videos.json"


def is_list(path: Path) -> bool:
    """Say whether a path is that of a list."""
    return path.name == LIST_NAME and path.is_file()


def write_list(folder: Path, paths: Sequence[Path]) -> Path:
    """Write the list of these videos, by their whole paths, into a folder."""
    location = folder / LIST_NAME
    location.write_text(json.dumps([str(path) for path in paths]), encoding="utf-8")
    return location


def read_list(location: Path) -> Dataset:
    """Read a list as a data set of videos that nobody said anything about.

    Raises:
        DataError: it lists nothing.
    """
    paths = [Path(name) for name in json.loads(location.read_text(encoding="utf-8"))]
    if not paths:
        raise DataError(f"The list {str(location)!r} names no video.")
    root = Path(paths[0].anchor)
    return Dataset(root=root, videos=tuple(_video(path, root) for path in paths))


def _video(path: Path, root: Path) -> VideoRecord:
    return VideoRecord(video_id=VideoId(str(path)), path=path.relative_to(root).as_posix())
