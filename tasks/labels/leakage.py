"""The gate that keeps train, val and test apart."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from storage.errors import LeakageError
from storage.records import MediaHashRecord, SampleRecord
from tasks.labels.duplicates import find_duplicates


def check_no_leakage(samples: Sequence[SampleRecord], hashes: Sequence[MediaHashRecord]) -> None:
    """Refuse a manifest in which a participant, a video or a duplicate is on two sides.

    Duplicates are files of the same content, and by the ``prints`` of the samples' videos also
    recordings that were encoded, scaled or trimmed again.

    Raises:
        LeakageError: counts the offenders and says the way out; its details name them.
    """
    video_ids: dict[str, set[str]] = defaultdict(set)
    for sample in samples:
        video_ids[sample.source_digest].add(sample.video_id)
    found = {
        "participant": _on_two_sides(samples, lambda sample: sample.participant_id),
        "video": _on_two_sides(samples, lambda sample: sample.video_id),
        "file content": {
            " = ".join(sorted(video_ids[digest])): sides
            for digest, sides in _on_two_sides(samples, lambda s: s.source_digest).items()
        },
        "recording": _recordings_on_two_sides(samples, hashes),
    }
    if any(found.values()):
        counts = ", ".join(f"{kind} ({len(which)})" for kind, which in found.items() if which)
        raise LeakageError(
            f"The same {counts} stands in more than one of train, val and test. "
            "Figures from such a split are worthless. Put each on one side in the data set's split "
            "files or table, or leave one of them out; where sides are drawn by manifest.split_by, "
            "give duplicates one participant.",
            details=tuple(
                f"{kind} {name}: {', '.join(sorted(sides))}"
                for kind, which in found.items()
                for name, sides in sorted(which.items())
            ),
        )


def _on_two_sides(
    samples: Iterable[SampleRecord], key: Callable[[SampleRecord], str | None]
) -> dict[str, set[str]]:
    sides: dict[str, set[str]] = defaultdict(set)
    for sample in samples:
        value = key(sample)
        if value is not None and sample.split is not None:
            sides[value].add(sample.split)
    return {value: splits for value, splits in sides.items() if len(splits) > 1}


def _recordings_on_two_sides(
    samples: Sequence[SampleRecord], hashes: Sequence[MediaHashRecord]
) -> dict[str, set[str]]:
    """Find duplicates on two sides that are not byte for byte the same."""
    contents = {sample.video_id: sample.source_digest for sample in samples}
    side_of = {sample.video_id: sample.split for sample in samples if sample.split is not None}
    if len(set(side_of.values())) < 2:
        return {}
    found = {}
    for group in find_duplicates([row for row in hashes if row.video_id in side_of]):
        sides = {side_of[video_id] for video_id in group}
        if len(sides) > 1 and len({contents[video_id] for video_id in group}) > 1:
            found[" = ".join(group)] = sides
    return found
