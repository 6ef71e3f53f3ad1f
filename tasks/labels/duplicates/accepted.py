"""Pairs of videos that the user has checked and accepts as no duplicates of each other."""

import csv
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from storage.errors import ConfigError
from storage.identity import video_key
from storage.records import VideoId
from tasks.labels.duplicates.find import DuplicatePair

AcceptedPairs = frozenset[frozenset[VideoId]]
NONE_ACCEPTED: AcceptedPairs = frozenset()


def read_accepted(path: Path, known: Collection[VideoId]) -> AcceptedPairs:
    """Read accepted pairs: a CSV file with two video ids a line; ``#`` starts a comment line.

    Another spelling of an id (`storage.identity`) counts as the id, if it is of one video only.

    Raises:
        ConfigError: the file cannot be read, or a line is not two different known ids; its details
            name every such line.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(
            f"The accepted duplicates in {str(path)!r} cannot be read ({reason}): name a text file "
            "with two video ids a line, separated by a comma."
        ) from error
    num_spellings = Counter(map(video_key, known))
    by_key = {video_key(name): name for name in known if num_spellings[video_key(name)] == 1}
    pairs, faults = set(), []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        fields = next(csv.reader([line], skipinitialspace=True))
        names = [VideoId(field.strip()) for field in fields]
        ids = [name if name in known else by_key.get(video_key(name), name) for name in names]
        fault = _fault_of(ids, known)
        if fault:
            faults.append(f"line {number}: {fault}")
        pairs.add(frozenset(ids))
    if faults:
        raise ConfigError(
            f"{len(faults)} of {len(lines)} lines of the accepted duplicates in {str(path)!r} are "
            "not two different video ids of the data set, separated by a comma: correct or remove "
            "them.",
            details=tuple(faults),
        )
    return frozenset(pairs)


def _fault_of(ids: Sequence[VideoId], known: Collection[VideoId]) -> str:
    if len(ids) != 2:
        return f"{len(ids)} fields, expected 2 (an id that contains a comma needs quotes)"
    if ids[0] == ids[1]:
        return f"the same id twice, {ids[0]!r}"
    unknown = [video_id for video_id in ids if video_id not in known]
    return f"no video {unknown[0]!r} in the data set" if unknown else ""


def without_accepted(
    pairs: Iterable[DuplicatePair], accepted: AcceptedPairs
) -> list[DuplicatePair]:
    """Return the pairs that nobody has accepted."""
    return [pair for pair in pairs if frozenset((pair.one, pair.other)) not in accepted]


def accepted_by_video(accepted: AcceptedPairs) -> Mapping[VideoId, tuple[VideoId, ...]]:
    """Return with which other videos each video is accepted, sorted."""
    others: dict[VideoId, list[VideoId]] = defaultdict(list)
    for pair in accepted:
        one, other = pair
        others[one].append(other)
        others[other].append(one)
    return {video_id: tuple(sorted(found)) for video_id, found in others.items()}
