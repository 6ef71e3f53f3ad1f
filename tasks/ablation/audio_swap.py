"""Whose sound each segment gets in the swapped control: another video's, of another participant.

A control that keeps picture and words, and takes from the sound what ties it to them: a model that
needs both falls to chance, one that reads its answer off either alone does not.
"""

from collections import defaultdict
from collections.abc import Sequence

from storage.errors import ConfigError
from storage.fingerprint import digest_of
from storage.records import SampleRecord

Pair = tuple[SampleRecord, SampleRecord]


def donors_of(samples: Sequence[SampleRecord]) -> list[Pair]:
    """Pair every segment that has sound with the one whose sound it gets; each gives its own once.

    The pairs follow from the segments' content and not from their order or names. Segments of one
    participant, of one video, or of videos of the same content never get each other's.

    Raises:
        ConfigError: one participant holds more than half of the segments with sound.
    """
    heard = [sample for sample in samples if sample.audio_path is not None]
    groups = sorted(_groups(heard), key=lambda group: (-len(group), _location(group[0])))
    ordered = [sample for group in groups for sample in group]
    shift = len(groups[0]) if groups else 0
    if 2 * shift > len(ordered):
        raise ConfigError(
            f"Sound cannot be swapped between participants: of {len(ordered)} segments with sound "
            f"{shift} are of one. Ablate on data of more participants, or with input.audio=false."
        )
    # A group lies in one stretch no longer than the shift: nobody's donor is of the same group.
    return [
        (host, ordered[(location + shift) % len(ordered)]) for location, host in enumerate(ordered)
    ]


def _groups(samples: Sequence[SampleRecord]) -> list[list[SampleRecord]]:
    """Put together what must not be swapped: linked by participant, video or content."""
    parents: dict[tuple[str, str], tuple[str, str]] = {}

    def root(key: tuple[str, str]) -> tuple[str, str]:
        while parents.setdefault(key, key) != key:
            parents[key] = key = parents[parents[key]]
        return key

    for sample in samples:
        video = root(("video", sample.video_id))
        parents[root(("content", sample.source_digest))] = video
        if sample.participant_id is not None:
            parents[root(("participant", sample.participant_id))] = root(video)
    together: dict[tuple[str, str], list[SampleRecord]] = defaultdict(list)
    for sample in samples:
        together[root(("video", sample.video_id))].append(sample)
    return [sorted(group, key=_location) for group in together.values()]


def _location(sample: SampleRecord) -> tuple[str, str]:
    return digest_of("swap", sample.content_digest), sample.segment_id
