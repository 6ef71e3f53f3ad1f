"""Leakage check between train, val and test."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence

from storage.errors import LeakageError
from storage.identity import participant_key, quote_spelling, video_key
from storage.media_records import MediaHashRecord
from storage.records import SampleRecord
from tasks.labels.duplicates.accepted import NONE_ACCEPTED, AcceptedPairs, without_accepted
from tasks.labels.duplicates.find import find_duplicates, groups_of

_ACCEPT = (
    " Recordings that are no copies of each other: accept the pair, with --accept-duplicates FILE."
)


def check_no_leakage(
    samples: Sequence[SampleRecord],
    hashes: Sequence[MediaHashRecord],
    accepted: AcceptedPairs = NONE_ACCEPTED,
) -> None:
    """Raise if a participant, a video or a duplicate is in more than one split.

    Spellings of one participant or video (`storage.identity`) count as one. Duplicates are files
    with the same content and, by the perceptual hashes of the samples' videos, copies and parts of
    one recording, except pairs that the user has accepted.

    Raises:
        LeakageError: counts the duplicates by kind; its details name them.
    """
    found = {
        "participant": _in_several_splits(samples, _participant, lambda s: s.participant_id),
        "video": _in_several_splits(samples, _video, lambda s: s.video_id),
        "file content": _contents_in_several_splits(samples),
        "recording": _recordings_in_several_splits(samples, hashes, accepted),
    }
    if any(found.values()):
        counts = ", ".join(f"{kind} ({len(names)})" for kind, names in found.items() if names)
        raise LeakageError(
            f"The same {counts} is in more than one of train, val and test, which makes all "
            "metrics meaningless. Assign each to one split in the data set's split files or table, "
            "or remove one copy; if manifest.split_by assigns splits, give duplicates one "
            "participant." + (_ACCEPT if found["recording"] else ""),
            details=tuple(
                f"{kind} {name}: {', '.join(sorted(splits))}"
                for kind, names in found.items()
                for name, splits in sorted(names.items())
            ),
        )


def _participant(sample: SampleRecord) -> str | None:
    return None if sample.participant_id is None else participant_key(sample.participant_id)


def _video(sample: SampleRecord) -> str:
    return video_key(sample.video_id)


def _in_several_splits(
    samples: Iterable[SampleRecord],
    key: Callable[[SampleRecord], str | None],
    spelling: Callable[[SampleRecord], str | None],
) -> dict[str, set[str]]:
    """Map what is in several splits to those splits, named by all of its spellings."""
    splits: dict[str, set[str]] = defaultdict(set)
    spellings: dict[str, set[str]] = defaultdict(set)
    for sample in samples:
        value = key(sample)
        if value is not None and sample.split is not None:
            splits[value].add(sample.split)
            spellings[value].add(spelling(sample) or value)
    return {_name_of(spellings[value]): found for value, found in splits.items() if len(found) > 1}


def _name_of(spellings: Collection[str]) -> str:
    """Name one thing; several spellings are quoted, so that their difference can be seen."""
    if len(spellings) == 1:
        return next(iter(spellings))
    return " = ".join(quote_spelling(name) for name in sorted(spellings))


def _contents_in_several_splits(samples: Sequence[SampleRecord]) -> dict[str, set[str]]:
    """Find files of one content in different splits, by the ids of their videos."""
    video_ids: dict[str, set[str]] = defaultdict(set)
    for sample in samples:
        video_ids[sample.source_digest].add(sample.video_id)
    found = _in_several_splits(samples, lambda s: s.source_digest, lambda s: s.source_digest)
    return {" = ".join(sorted(video_ids[digest])): splits for digest, splits in found.items()}


def _recordings_in_several_splits(
    samples: Sequence[SampleRecord], hashes: Sequence[MediaHashRecord], accepted: AcceptedPairs
) -> dict[str, set[str]]:
    """Find duplicates in different splits that are not identical files."""
    contents = {sample.video_id: sample.source_digest for sample in samples}
    split_of = {sample.video_id: sample.split for sample in samples if sample.split is not None}
    if len(set(split_of.values())) < 2:
        return {}
    pairs = find_duplicates([row for row in hashes if row.video_id in split_of])
    found = {}
    for group in groups_of(without_accepted(pairs, accepted)):
        splits = {split_of[video_id] for video_id in group}
        if len(splits) > 1 and len({contents[video_id] for video_id in group}) > 1:
            found[" = ".join(group)] = splits
    return found
