"""Open a data folder: choose the reader that fits its files, and check what it returns."""

from functools import lru_cache
from pathlib import Path

from storage.datasets.bah.annotation_cache import AnnotationCache
from storage.datasets.bah.reader import ANNOTATION_FILE, PARTICIPANTS_FILE, is_bah, read_bah
from storage.datasets.bah.splits import SPLIT_FOLDER
from storage.datasets.dataset import Dataset
from storage.datasets.folder import read_folder
from storage.datasets.table.reader import is_table, read_table
from storage.datasets.table.rows import LABEL_FILES, label_file_names
from storage.datasets.video_list import is_list, read_list
from storage.errors import ConfigError, DataError, LeakageError
from storage.issues import IssueKind
from storage.paths import iter_video_names
from storage.records import SPLITS
from storage.store.store import local_root


def open_dataset(folder: str, cache: AnnotationCache | None = None) -> Dataset:
    """Read a data folder to train or infer on it.

    Raises:
        ConfigError, DataError: as `read_dataset`.
        LeakageError: a video is listed in two splits.
    """
    dataset = read_dataset(folder, cache)
    _reject_two_splits(dataset)
    return dataset


def read_dataset(folder: str, cache: AnnotationCache | None = None) -> Dataset:
    """Read a BAH release, a folder with a label table, or any folder of videos.

    ``cache`` saves parsing a large annotation file again; the result is the same without it.

    Raises:
        ConfigError: the folder's name is empty.
        DataError: the folder is missing or holds no video, or its annotation cannot be read.
    """
    if not folder.strip():
        raise ConfigError("The data folder is empty (''): name a folder of videos with --data.")
    root = Path(folder)
    if is_list(root):
        return read_list(root)
    if root.is_file():
        raise DataError(
            f"The data folder {folder!r} is a file: name the folder that contains the videos with "
            "--data."
        )
    if not _is_folder(root):
        raise DataError(
            f"There is no data folder {folder!r}: name a folder of videos or a BAH release "
            "with --data."
        )
    dataset = _read(root, _stamp(root), cache)
    if not dataset.videos:
        raise DataError(
            f"No video was found under {folder!r}: expected a BAH release or files such as "
            ".mp4, .mov, .mkv, .webm or .avi."
        )
    return dataset


def check_apart(folder: str, store: str) -> None:
    """Raise if a store is inside the data folder, where its segments would be read as videos.

    A hidden folder inside the data folder is allowed: readers skip it.

    Raises:
        ConfigError: the store is inside the data folder.
    """
    root, videos = local_root(store), Path(folder).resolve()
    if root is None or not root.resolve().is_relative_to(videos):
        return
    below = root.resolve().relative_to(videos).parts
    if not any(step.startswith(".") for step in below):
        raise ConfigError(
            f"The store {store!r} is inside the data folder {folder!r}, where its segments would "
            "be read as videos: name a folder outside with --store."
        )


def _reject_two_splits(dataset: Dataset) -> None:
    details = tuple(
        f"video {video.video_id}: {issue.detail}"
        for video in dataset.videos
        for issue in video.issues
        if issue.kind is IssueKind.VIDEO_IN_TWO_SPLITS
    )
    if details:
        raise LeakageError(
            f"Videos are listed in two splits ({len(details)} of them): leave each in one.",
            details=details,
        )


def _is_folder(root: Path) -> bool:
    try:
        if root.is_dir():
            next(root.iterdir(), None)
            return True
    except OSError as error:
        raise DataError(
            f"The data folder {str(root)!r} cannot be read ({error.strerror}): name another with "
            "--data, or make it readable."
        ) from error
    return False


@lru_cache(maxsize=2)
def _read(
    root: Path, _state: tuple[tuple[str, int, int], ...], cache: AnnotationCache | None
) -> Dataset:
    """Read a data set once in a process, unless its files moved: the annotation is large."""
    if is_bah(root) and is_table(root):
        raise DataError(
            f"{str(root)!r} holds both a BAH release's files and a label table "
            f"({' or '.join(LABEL_FILES)}): keep one of them in the folder."
        )
    if is_bah(root):
        return read_bah(root, cache)
    return read_table(root) if is_table(root) else read_folder(root)


def _stamp(root: Path) -> tuple[tuple[str, int, int], ...]:
    """Note size and time of change of the files that a reader opens or lists, and of no other."""
    splits = (f"{SPLIT_FOLDER}/{split}.txt" for split in SPLITS)
    names = (ANNOTATION_FILE, PARTICIPANTS_FILE, *splits, *label_file_names(root))
    return tuple(_state_of(root, name) for name in (*names, *iter_video_names(root)))


def _state_of(root: Path, name: str) -> tuple[str, int, int]:
    try:
        facts = (root / name).stat()
    except OSError:
        return name, -1, -1
    return name, facts.st_size, facts.st_mtime_ns
