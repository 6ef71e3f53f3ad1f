"""Single videos, in any folders, as a data set without annotation."""

from collections.abc import Sequence
from pathlib import Path

from storage.datasets.dataset import Dataset
from storage.errors import DataError
from storage.records import VideoId, VideoRecord


def dataset_of_videos(paths: Sequence[str]) -> Dataset:
    """Make a data set of video files, given by absolute paths.

    A video's id is its absolute path: files of the same name stay distinct, and a file has the
    same id in every list.

    Raises:
        DataError: the list is empty.
    """
    if not paths:
        raise DataError("The list of videos is empty: name at least one file.")
    root = Path(Path(paths[0]).anchor)
    return Dataset(root=root, videos=tuple(_video(Path(path), root) for path in paths))


def _video(path: Path, root: Path) -> VideoRecord:
    return VideoRecord(video_id=VideoId(str(path)), path=path.relative_to(root).as_posix())
