"""Videos whose names are two spellings of one: named with the one that is used, never merged."""

import filecmp
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from storage.identity import quote_spelling, video_key
from storage.issues import Issue, IssueKind
from storage.records import VideoRecord


def alike(names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield the groups of names that are spellings of one video's name, in order."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in dict.fromkeys(names):
        groups[video_key(name)].append(name)
    return (tuple(group) for group in groups.values() if len(group) > 1)


def videos_spelled_twice(root: Path, videos: Sequence[VideoRecord]) -> Iterator[Issue]:
    """Yield an issue for files side by side whose names are spellings of one name.

    Each stays a video of its own: which annotation belongs to which file is not for a reader to
    guess.
    """
    by_path: Mapping[str, VideoRecord] = {video.path: video for video in videos}
    for paths in alike(list(by_path)):
        facts = {(by_path[path].label, by_path[path].split) for path in paths}
        yield files_spelled_twice(root, paths, "each is a video of its own", same=len(facts) == 1)


def files_spelled_twice(
    root: Path, paths: Sequence[str], outcome: str, *, same: bool = True
) -> Issue:
    """Build the issue of files whose names are spellings of one, from their content.

    ``same`` is false if what is known about them differs already; ``outcome`` is how they are used.
    """
    if not same:
        kind, difference = IssueKind.VIDEO_SPELLINGS_DIFFER, "labels or splits differ"
    elif all(_same_content(root / paths[0], root / path) for path in paths[1:]):
        kind, difference = IssueKind.VIDEO_SPELLED_TWICE, "same content"
    else:
        kind, difference = IssueKind.VIDEO_SPELLINGS_DIFFER, "contents differ"
    names = " and ".join(quote_spelling(path) for path in paths)
    return Issue(kind, f"{names} are spellings of one name ({difference}): {outcome}")


def _same_content(one: Path, other: Path) -> bool:
    try:
        return filecmp.cmp(one, other, shallow=False)
    except OSError:
        return False
