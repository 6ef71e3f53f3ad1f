"""Which side of train, val and test a video stands on, and the gate that keeps the sides apart."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from storage.errors import LeakageError
from storage.records import SampleRecord, VideoRecord

SPLITS = ("train", "val", "test")


def split_of(video: VideoRecord, shares: tuple[float, float, float], seed: int) -> str:
    """Give the data set's own split, else one drawn by hash of the participant.

    The draw depends on the participant (on the video where none is known) and the seed alone, so
    that an added video never moves another. ``shares`` are of train, val and test, and sum to 1.
    """
    if video.split is not None:
        return video.split
    group = video.participant_id or video.video_id
    name = f"{seed}:{group}".encode(errors="surrogatepass")
    digest = hashlib.blake2b(name, digest_size=8).digest()
    point = int.from_bytes(digest, "big") / 2**64
    return "train" if point < shares[0] else "val" if point < shares[0] + shares[1] else "test"


def check_no_leakage(samples: Sequence[SampleRecord]) -> None:
    """Refuse a manifest in which a participant, a video or a duplicate file is on two sides.

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
    }
    if any(found.values()):
        counts = ", ".join(f"{kind} ({len(which)})" for kind, which in found.items() if which)
        raise LeakageError(
            f"The same {counts} stands in more than one of train, val and test. "
            "Figures from such a split are worthless: put each on one side in the data set's "
            "split files (or leave the duplicates out) and run again.",
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
