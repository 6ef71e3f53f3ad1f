"""A data set as the pipeline sees it: a root folder, its videos, and what is wrong with it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from storage.fingerprint import digest_file
from storage.issues import Issue
from storage.records import VideoId, VideoRecord
from storage.store.file_index import FileIndex, memory_index
from storage.store.store import Store

_UNREADABLE = "unreadable"


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Videos under one root.

    ``issues`` are about the data set as a whole, or about annotated videos without a file.
    """

    root: Path
    videos: tuple[VideoRecord, ...]
    issues: tuple[Issue, ...] = ()
    _digests: dict[VideoId, str] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def has_labels(self) -> bool:
        """True if at least one video is labeled, or part of one."""
        return any(video.label is not None or video.negative_intervals for video in self.videos)

    def paths(self) -> dict[VideoId, Path]:
        """Map each video to its file."""
        return {video.video_id: self.root / video.path for video in self.videos}

    def source_digests(self, index: FileIndex | None = None) -> Mapping[VideoId, str]:
        """Return the digest of each video's file, found on the first call.

        Files that ``index`` does not know, by path and identity, are read.
        """
        index = index or memory_index()
        paths = self.paths()
        missing = {name: path for name, path in paths.items() if name not in self._digests}
        for video_id, digest in index.iter_facts(missing, digest_file):
            self._digests[video_id] = digest if isinstance(digest, str) else _UNREADABLE
        return {video_id: self._digests[video_id] for video_id in paths}

    def read_again(self, video_ids: Collection[VideoId], index: FileIndex) -> None:
        """Read the files of videos that are about to be used, unless this process has done so."""
        paths = self.paths()
        for video_id in video_ids:
            if index.distrust(paths[video_id]):
                self._digests.pop(video_id, None)
        self.source_digests(index)


def source_index(store: Store | None) -> FileIndex:
    """Return a store's index of the digests of videos, or an empty one without a store."""
    return memory_index() if store is None else store.index("sources")


def digest_or_unreadable(path: Path) -> str:
    """Digest a video file's content, or return "unreadable" if it cannot be read."""
    try:
        return digest_file(path)
    except OSError:
        return _UNREADABLE
