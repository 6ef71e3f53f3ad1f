"""The control's donors: each segment gets the audio of another video of another participant.

Video and transcript stay the same, but the audio no longer belongs to them: a model that combines
them falls to chance, one that relies on either alone does not.
"""

from collections import defaultdict
from collections.abc import Sequence

from storage.errors import ConfigError
from storage.fingerprint import digest_of
from storage.identity import participant_key
from storage.records import SampleRecord

Pair = tuple[SampleRecord, SampleRecord]


def donors_of(samples: Sequence[SampleRecord]) -> list[Pair]:
    """Pair every segment that has audio with its donor; each segment is a donor once.

    The pairs depend on the segments' content and not on their order or ids. Segments of one
    participant, of one video or of videos with the same content are never paired.

    Raises:
        ConfigError: more than half of the segments with audio belong to one participant.
    """
    with_audio = [sample for sample in samples if sample.audio_path is not None]
    groups = sorted(_groups(with_audio), key=lambda group: (-len(group), _sort_key(group[0])))
    ordered = [sample for group in groups for sample in group]
    shift = len(groups[0]) if groups else 0
    if 2 * shift > len(ordered):
        raise ConfigError(
            f"Audio cannot be swapped between participants: {shift} of {len(ordered)} segments "
            "with audio are of one. Ablate on data of more participants, or with input.audio=false."
        )
    # A group is contiguous and no longer than the shift, so no donor is of its host's group.
    return [(host, ordered[(index + shift) % len(ordered)]) for index, host in enumerate(ordered)]


def _groups(samples: Sequence[SampleRecord]) -> list[list[SampleRecord]]:
    """Group segments that must not be paired: linked by participant, video or content."""
    parents: dict[tuple[str, str], tuple[str, str]] = {}

    def root(key: tuple[str, str]) -> tuple[str, str]:
        while parents.setdefault(key, key) != key:
            parents[key] = key = parents[parents[key]]
        return key

    for sample in samples:
        video = root(("video", sample.video_id))
        parents[root(("content", sample.source_digest))] = video
        if sample.participant_id is not None:
            parents[root(("participant", participant_key(sample.participant_id)))] = root(video)
    groups: dict[tuple[str, str], list[SampleRecord]] = defaultdict(list)
    for sample in samples:
        groups[root(("video", sample.video_id))].append(sample)
    return [sorted(group, key=_sort_key) for group in groups.values()]


def _sort_key(sample: SampleRecord) -> tuple[str, str]:
    return digest_of("swap", sample.content_digest), sample.segment_id
