"""A data set as the pipeline sees it: a root folder, its videos, and what is wrong with it."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from storage.fingerprint import digest_file
from storage.issues import Issue
from storage.records import VideoId, VideoRecord

_UNREADABLE = "unreadable"


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Videos under one root.

    ``issues`` are about the data set as a whole, or about annotated videos without a file.
    """

    root: Path
    videos: tuple[VideoRecord, ...]
    issues: tuple[Issue, ...] = ()

    @property
    def has_labels(self) -> bool:
        """True if at least one video is labeled, or part of one."""
        return any(video.label is not None or video.negative_intervals for video in self.videos)

    def paths(self) -> dict[VideoId, Path]:
        """Map each video to its file."""
        return {video.video_id: self.root / video.path for video in self.videos}

    def source_digests(self) -> Mapping[VideoId, str]:
        """Digest the content of each video's file; reads all files once, on the first call."""
        return self._source_digests

    @cached_property
    def _source_digests(self) -> Mapping[VideoId, str]:
        paths = self.paths()
        with ThreadPoolExecutor() as pool:
            digests = pool.map(digest_or_unreadable, paths.values())
            return dict(zip(paths, digests, strict=True))


def digest_or_unreadable(path: Path) -> str:
    """Digest a video file's content, or return "unreadable" if it cannot be read."""
    try:
        return digest_file(path)
    except OSError:
        return _UNREADABLE
