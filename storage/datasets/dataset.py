"""A data set as the pipeline sees it: a root folder, its videos, and what is wrong with it."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from storage.errors import ConfigError, DataError, LeakageError
from storage.fingerprint import digest_file
from storage.issues import Issue, IssueKind
from storage.paths import iter_video_names
from storage.records import SPLITS, VideoId, VideoRecord
from storage.store.store import local_root

if TYPE_CHECKING:
    from storage.datasets.annotation_cache import AnnotationCache

_UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Videos under one root; ``issues`` are about the data set, or videos without a file."""

    root: Path
    videos: tuple[VideoRecord, ...]
    issues: tuple[Issue, ...] = ()

    @property
    def has_labels(self) -> bool:
        """True if at least one video is labelled."""
        return any(video.label is not None for video in self.videos)

    def paths(self) -> dict[VideoId, Path]:
        """Map each video to its file."""
        return {video.video_id: self.root / video.path for video in self.videos}

    def source_digests(self) -> Mapping[VideoId, str]:
        """Digest every video file's content; reads each file once."""
        paths = self.paths()
        with ThreadPoolExecutor() as pool:
            digests = pool.map(_digest_unless_unchanged, paths.values())
            return dict(zip(paths, digests, strict=True))


def digest_or_unreadable(path: Path) -> str:
    """Digest a video file's content as it is now; one that cannot be read has a word instead."""
    try:
        return digest_file(path)
    except OSError:
        return _UNREADABLE


def _digest_unless_unchanged(path: Path) -> str:
    try:
        facts = path.stat()
        return _digest_unchanged(path, facts.st_size, facts.st_mtime_ns, facts.st_ino)
    except OSError:
        return _UNREADABLE


@cache
def _digest_unchanged(path: Path, *_state: int) -> str:
    """Digest a file once in a process, unless it moved or changed: every stage asks for it."""
    return digest_file(path)


def open_dataset(folder: str, cache: "AnnotationCache | None" = None) -> Dataset:
    """Read a data folder to work on it.

    Raises:
        DataError: as `read_dataset`.
        LeakageError: a video is listed in two splits.
    """
    dataset = read_dataset(folder, cache)
    _reject_two_splits(dataset)
    return dataset


def read_dataset(folder: str, cache: "AnnotationCache | None" = None) -> Dataset:
    """Read a data folder: BAH layout or the plain one, by its files, else any folder of videos.

    A cache spares parsing a large annotation that it knows, and changes nothing else.

    Raises:
        DataError: no such folder, nothing in it, or an annotation that cannot be read.
    """
    from storage.datasets.video_list import is_list, read_list

    root = Path(folder)
    if is_list(root):
        return read_list(root)
    if root.is_file():
        raise DataError(
            f"The data folder {folder!r} is a file: name the folder that the videos lie in with "
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
    """Refuse a store whose segments would be read as source videos; hidden folders never are.

    Raises:
        ConfigError: the store lies within the data folder.
    """
    root, videos = local_root(store), Path(folder).resolve()
    if root is None or not root.resolve().is_relative_to(videos):
        return
    below = root.resolve().relative_to(videos).parts
    if not any(step.startswith(".") for step in below):
        raise ConfigError(
            f"The store {store!r} lies inside the data folder {folder!r}, where its segments would "
            "be taken for videos: name a place outside with --store."
        )


def _reject_two_splits(dataset: Dataset) -> None:
    message = tuple(
        f"video {video.video_id}: {issue.detail}"
        for video in dataset.videos
        for issue in video.issues
        if issue.kind is IssueKind.VIDEO_IN_TWO_SPLITS
    )
    if message:
        raise LeakageError(
            f"Videos are listed in two splits ({len(message)} of them): leave each in one.",
            details=message,
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
    root: Path, _state: tuple[tuple[str, int, int], ...], cache: "AnnotationCache | None"
) -> Dataset:
    """Read a data set once in a process, unless its files moved: the annotation is large."""
    from storage.datasets.bah.reader import is_bah, read_bah
    from storage.datasets.folder import read_folder
    from storage.datasets.table.reader import is_table, read_table
    from storage.datasets.table.rows import LABEL_FILES

    if is_bah(root) and is_table(root):
        raise DataError(
            f"{str(root)!r} holds both a BAH release's files and a table of labels "
            f"({' or '.join(LABEL_FILES)}): keep one of them in the folder."
        )
    if is_bah(root):
        return read_bah(root, cache)
    return read_table(root) if is_table(root) else read_folder(root)


def _stamp(root: Path) -> tuple[tuple[str, int, int], ...]:
    """Note size and time of change of the files that a reader opens or lists, and of no other."""
    from storage.datasets.bah.reader import ANNOTATION_FILE, PARTICIPANTS_FILE
    from storage.datasets.bah.splits import SPLIT_FOLDER
    from storage.datasets.table.rows import label_file_names

    splits = (f"{SPLIT_FOLDER}/{split}.txt" for split in SPLITS)
    message = (ANNOTATION_FILE, PARTICIPANTS_FILE, *splits, *label_file_names(root))
    return tuple(_state_of(root, name) for name in (*message, *iter_video_names(root)))


def _state_of(root: Path, name: str) -> tuple[str, int, int]:
    try:
        facts = (root / name).stat()
    except OSError:
        return name, -1, -1
    return name, facts.st_size, facts.st_mtime_ns
