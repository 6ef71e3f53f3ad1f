"""Which side of train, val and test a video stands on, and the gate that keeps the sides apart."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from storage.errors import LeakageError
from storage.records import SampleRecord, VideoRecord

SPLITS = ("train", "val", "test")
_SHOWN = 5


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
        LeakageError: names up to five of the offenders and the way out.
    """
    _check(samples, "participant", lambda sample: sample.participant_id)
    _check(samples, "video", lambda sample: sample.video_id)
    by_digest: dict[str, set[str]] = defaultdict(set)
    for sample in samples:
        by_digest[sample.source_digest].add(sample.video_id)
    _check(
        samples,
        "file content",
        lambda sample: sample.source_digest,
        lambda digest: " = ".join(sorted(by_digest[digest])),
    )


def _check(
    samples: Iterable[SampleRecord],
    kind: str,
    key: Callable[[SampleRecord], str | None],
    show: Callable[[str], str] = repr,
) -> None:
    sides: dict[str, set[str]] = defaultdict(set)
    for sample in samples:
        value = key(sample)
        if value is not None and sample.split is not None:
            sides[value].add(sample.split)
    offenders = sorted(value for value, splits in sides.items() if len(splits) > 1)
    if offenders:
        named = ", ".join(show(value) for value in offenders[:_SHOWN])
        more = f" and {len(offenders) - _SHOWN} more" if len(offenders) > _SHOWN else ""
        raise LeakageError(
            f"The same {kind} stands in more than one of train, val and test: {named}{more}. "
            "Figures from such a split are worthless: put each on one side in the data set's "
            "split files (or leave the duplicates out) and run again."
        )
