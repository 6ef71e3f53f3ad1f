"""Read any folder of videos: every file with a video suffix is an unlabeled video."""

from pathlib import Path

from storage.datasets.dataset import Dataset
from storage.errors import DataError
from storage.issues import Issue, IssueKind
from storage.paths import iter_video_names, resolve_inside
from storage.records import VideoId, VideoRecord


def read_folder(root: Path) -> Dataset:
    """Find the videos under `root`, recursively; a video's id is its path relative to `root`."""
    videos: list[VideoRecord] = []
    issues: list[Issue] = []
    for name in sorted(iter_video_names(root)):
        try:
            resolve_inside(root, name)
        except DataError as error:
            issues.append(Issue(IssueKind.PATH_REJECTED, f"skipped: {error}"))
            continue
        videos.append(VideoRecord(video_id=VideoId(name), path=name))
    return Dataset(root=root, videos=tuple(videos), issues=tuple(issues))
