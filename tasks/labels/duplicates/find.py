"""Find videos of a data set that are one recording, or of which one is a part of another.

Two kinds of evidence count, each on its own. Audio: nearly all of one video's distinctive audio is
in the other's, in the same order, at the same or up to a tenth another speed; steady and repeating
audio is none. Motion: both move alike from start to end; parts are searched for only among videos
without audio evidence. The guide beside this package shows what was measured, and the limits.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from storage.media_records import MediaHashRecord
from storage.records import VideoId
from tasks.labels.duplicates.audio_index import iter_candidates
from tasks.labels.duplicates.audio_match import AudioTrack, is_contained
from tasks.labels.duplicates.motion_match import (
    course_of,
    has_same_course,
    iter_part_candidates,
    iter_whole_candidates,
)
from tasks.media.perceptual_hash import audio_words_of, motion_levels_of

Pair = tuple[int, int]
Evidence = Literal["audio", "motion"]
AUDIO: Evidence = "audio"
MOTION: Evidence = "motion"
_MARGIN_AGAINST_AUDIO = 0.1  # required of motion if the audio differs


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class DuplicatePair:
    """Two videos that are one recording, ``one`` before ``other``, and what shows it."""

    one: VideoId
    other: VideoId
    evidence: Evidence


def find_duplicates(hashes: Sequence[MediaHashRecord]) -> list[DuplicatePair]:
    """Find all pairs of videos that are one recording, sorted."""
    rows = sorted(hashes, key=lambda row: row.video_id)
    tracks = [AudioTrack(audio_words_of(row.audio)) for row in rows]
    by_audio = set(_iter_audio_pairs(tracks))
    found = {
        **dict.fromkeys(_iter_motion_pairs(rows, tracks, by_audio), MOTION),
        **dict.fromkeys(by_audio, AUDIO),
    }
    return [
        DuplicatePair(
            one=rows[one].video_id, other=rows[other].video_id, evidence=found[one, other]
        )
        for one, other in sorted(found)
    ]


def groups_of(pairs: Sequence[DuplicatePair]) -> list[tuple[VideoId, ...]]:
    """Join pairs to groups of one recording; ids are sorted, and groups by their first id."""
    group_of: dict[VideoId, list[VideoId]] = {}
    for pair in pairs:
        one = group_of.setdefault(pair.one, [pair.one])
        other = group_of.setdefault(pair.other, [pair.other])
        if one is not other:
            one.extend(other)
            group_of.update(dict.fromkeys(other, one))
    groups = {id(group): tuple(sorted(group)) for group in group_of.values()}
    return sorted(groups.values())


def _iter_audio_pairs(tracks: Sequence[AudioTrack]) -> Iterator[Pair]:
    for candidate in iter_candidates([track.words for track in tracks]):
        if is_contained(tracks[candidate.one], tracks[candidate.other], candidate):
            yield candidate.one, candidate.other


def _iter_motion_pairs(
    rows: Sequence[MediaHashRecord], tracks: Sequence[AudioTrack], known: set[Pair]
) -> Iterator[Pair]:
    """Compare motion where audio has not decided; more is required if both have other audio."""
    courses = [course_of(motion_levels_of(row.motion)) for row in rows]
    lacking = [index for index, track in enumerate(tracks) if not track.has_evidence]
    found = {*iter_whole_candidates(courses), *iter_part_candidates(courses, lacking)}
    for one, other in sorted({(min(pair), max(pair)) for pair in found} - known):
        differs = tracks[one].has_evidence and tracks[other].has_evidence
        margin = _MARGIN_AGAINST_AUDIO if differs else 0.0
        if has_same_course(courses[one], courses[other], margin):
            yield one, other
