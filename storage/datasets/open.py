"""Open a data folder: choose the reader that fits its files, and check what it returns."""

from dataclasses import replace
from pathlib import Path

from storage.datasets.bah.annotation_cache import AnnotationCache
from storage.datasets.bah.reader import is_bah, read_bah
from storage.datasets.consent import reconcile
from storage.datasets.dataset import Dataset
from storage.datasets.doubtful import withhold_doubtful
from storage.datasets.folder import read_folder
from storage.datasets.spellings import videos_spelled_twice
from storage.datasets.table.label_file import ignored_label_files, label_file_names
from storage.datasets.table.reader import is_table, read_table
from storage.errors import ConfigError, DataError, LeakageError
from storage.issues import IssueKind
from storage.store.url import local_root


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

    Annotation that contradicts itself is withheld, and reported in the videos' issues.
    ``cache`` saves parsing a large annotation file again; the result is the same without it.

    Raises:
        ConfigError: the folder's name is empty.
        DataError: the folder is missing or contains no video, or its annotation cannot be read.
    """
    root = data_folder(folder)
    dataset = withhold_doubtful(_read(root, cache))
    if not dataset.videos:
        raise DataError(
            f"No video was found under {folder!r}: expected a BAH release or files such as "
            ".mp4, .mov, .mkv, .webm or .avi."
        )
    videos, contradicted = reconcile(dataset.videos)
    issues = (
        *dataset.issues, *contradicted, *videos_spelled_twice(root, videos),
        *ignored_label_files(root),
    )  # fmt: skip
    return replace(dataset, videos=videos, issues=issues)


def data_folder(folder: str) -> Path:
    """Return the path of a data folder that is there.

    Raises:
        ConfigError: the folder's name is empty.
        DataError: it is missing, is a file, or cannot be read.
    """
    root = _path_of(folder)
    _check_is_folder(root)
    return root


def check_apart(folder: str, store: str) -> None:
    """Raise if a store is inside the data folder, where its segments would be read as videos.

    A hidden folder inside the data folder is allowed: readers skip it.

    Raises:
        ConfigError: the store is inside the data folder, or either name is empty.
    """
    root, videos = local_root(store), _path_of(folder).resolve()
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


def _path_of(folder: str) -> Path:
    if not folder.strip() or "\0" in folder:
        raise ConfigError(f"{folder!r} is not a data folder: name a folder of videos with --data.")
    return Path(folder)


def _check_is_folder(root: Path) -> None:
    try:
        if root.is_dir():
            next(root.iterdir(), None)
            return
        is_file = root.is_file()
    except OSError as error:
        raise DataError(
            f"The data folder {str(root)!r} cannot be read ({error.strerror}): name another with "
            "--data, or make it readable."
        ) from error
    if is_file:
        raise DataError(
            f"The data folder {str(root)!r} is a file: name the folder that contains the videos "
            "with --data."
        )
    raise DataError(
        f"There is no data folder {str(root)!r}: name a folder of videos or a BAH release with "
        "--data."
    )


def _read(root: Path, cache: AnnotationCache | None) -> Dataset:
    if is_bah(root) and is_table(root):
        raise DataError(
            f"{str(root)!r} holds both a BAH release's files and a label table "
            f"({' and '.join(label_file_names(root))}): keep one of them in the folder."
        )
    if is_bah(root):
        return read_bah(root, cache)
    return read_table(root) if is_table(root) else read_folder(root)
