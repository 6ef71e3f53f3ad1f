"""Which videos of a data set are one recording that was encoded, scaled or trimmed again.

Two videos are one recording if they show the same scene and sound the same. Where one of them has
no sound to compare, the scene must also move alike, stretch by stretch; where it hardly moves
either (black, still, under 9 s), nothing tells them from another recording and they are not called
duplicates. A recording without picture is compared with all others by its sound alone. MediaHashes are
compared within half a second of shift at either end.

Measured on 87 videos of 8 to 28 s and 219 copies of 41 of them (H.264, MPEG-4 and VP8 down to 240
by 180, 12 to 30 frames a second, other volumes, 8 kHz sound, brightened, up to 0.5 s trimmed), and
on 9,300 pairs of different videos of like length, 966 of them of one person before one background:

                              one recording     different ones   limit
    picture bits that differ  up to 3.2 of 64   4.2 and more     5
    sound bits that differ    up to 0.21        0.45 and more    0.30
    motion in common          0.80 and more     up to 0.32       0.75

The scene alone tells too little, then, and is never enough. Drawn faces that all sway by one
formula have up to 0.72 of their motion in common.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from storage.records import MediaHashRecord, VideoId
from tasks.media.perceptual_hash import (
    AUDIO_HASH_RATE,
    NUM_AUDIO_BITS,
    SILENT,
    VIDEO_HASH_RATE,
    Words,
)

_MAX_VIDEO_BITS = 5.0
_MAX_AUDIO_SHARE = 0.30
_MIN_MOTION = 0.75

_SHIFT_SECONDS = 0.75
_LENGTHS_APART = 5  # words of picture: half a second lost at either end, and rounding
_AUDIOS_APART = _LENGTHS_APART * AUDIO_HASH_RATE // VIDEO_HASH_RATE
_MIN_HEARD = 2 * AUDIO_HASH_RATE
_STRETCH = 3 * VIDEO_HASH_RATE
_MIN_STRETCHES = 3
_MOVING_BITS = 0.1  # variance, summed over the 64 bits: less is a still picture's noise

Places = npt.NDArray[np.intp]
Bits = npt.NDArray[np.floating[Any]]
Floats = npt.NDArray[np.float64]
Marks = npt.NDArray[np.bool_]


def find_duplicates(hashes: Sequence[MediaHashRecord]) -> list[tuple[VideoId, ...]]:
    """Group the videos that are one recording; a video without a twin is in no group.

    Ids are sorted within a group, and groups by their first id.
    """
    printed = [row for row in hashes if row.video]
    ordered = sorted(printed, key=lambda row: (len(row.video), row.video_id))
    group_of = {row.video_id: row.video_id for row in ordered}
    heard = [row for row in hashes if row.audio]
    group_of |= {row.video_id: row.video_id for row in heard}
    for one, other in chain(_iter_twins(ordered), _iter_heard_twins(heard)):
        kept, joined = sorted((group_of[one.video_id], group_of[other.video_id]))
        group_of.update({name: kept for name, group in group_of.items() if group == joined})
    groups: dict[VideoId, list[VideoId]] = defaultdict(list)
    for video_id, group in group_of.items():
        groups[group].append(video_id)
    return sorted(tuple(sorted(group)) for group in groups.values() if len(group) > 1)


def _iter_twins(
    ordered: Sequence[MediaHashRecord],
) -> Iterator[tuple[MediaHashRecord, MediaHashRecord]]:
    """Compare each video with those of like length, the cheapest comparison first."""
    videos = [np.array(row.video) for row in ordered]
    audios = [np.array(row.audio, np.int64) for row in ordered]
    lengths = np.array([len(row.video) for row in ordered])
    scenes = np.array([_bits(row.video).mean(axis=0) for row in ordered])  # [videos, 64]
    for location, row in enumerate(ordered):
        end = int(np.searchsorted(lengths, lengths[location] + _LENGTHS_APART, side="right"))
        near = np.arange(location + 1, end)
        # The mean of differences is never below the difference of means: only trims add to it.
        apart = np.abs(scenes[near] - scenes[location]).sum(axis=1)
        near = near[apart <= 2 * _MAX_VIDEO_BITS]
        near = near[_differing_videos(videos, location, near) <= _MAX_VIDEO_BITS]
        bits, is_heard = _differing_audios(audios, location, near)
        same = is_heard & (bits <= _MAX_AUDIO_SHARE * NUM_AUDIO_BITS)
        for other, audios_alike, comparable in zip(near, same, is_heard, strict=True):
            if audios_alike or (not comparable and _moves_alike(row, ordered[other])):
                yield row, ordered[other]


def _iter_heard_twins(
    heard: Sequence[MediaHashRecord],
) -> Iterator[tuple[MediaHashRecord, MediaHashRecord]]:
    """Compare each recording of sound alone with all whose sound is of like length."""
    audios = [np.array(row.audio, np.int64) for row in heard]
    lengths = np.array([len(row.audio) for row in heard])
    for location, row in enumerate(heard):
        if row.video:
            continue
        near = np.flatnonzero(np.abs(lengths - lengths[location]) <= _AUDIOS_APART)
        near = near[near != location]
        bits, is_heard = _differing_audios(audios, location, near)
        for other in near[is_heard & (bits <= _MAX_AUDIO_SHARE * NUM_AUDIO_BITS)]:
            yield row, heard[other]


def _differing_videos(videos: Sequence[Words], location: int, near: Places) -> Floats:
    """Give the mean number of bits in which each near picture differs, at the best shift."""
    words, there = _side_by_side([videos[location], *(videos[other] for other in near)])
    return _differing_bits(words, there, VIDEO_HASH_RATE, min_words=1)


def _differing_audios(audios: Sequence[Words], location: int, near: Places) -> tuple[Floats, Marks]:
    """Give the same of sounds, over what is heard of both, and where that is enough."""
    words, there = _side_by_side([audios[location], *(audios[other] for other in near)])
    there &= words != SILENT
    counts = there.sum(axis=1)
    enough = np.minimum(counts[0], counts[1:]) >= _MIN_HEARD
    return _differing_bits(words, there, AUDIO_HASH_RATE, _MIN_HEARD), enough


def _side_by_side(rows: Sequence[Words]) -> tuple[Words, Marks]:
    """Lay rows of words out as one table [rows, words], and mark where there are any."""
    longest = max(len(row) for row in rows)
    words, there = np.zeros((len(rows), longest), np.int64), np.zeros((len(rows), longest), bool)
    for location, row in enumerate(rows):
        words[location, : len(row)], there[location, : len(row)] = row, True
    return words, there


def _differing_bits(words: Words, there: Marks, rate: int, min_words: int) -> Floats:
    """Compare the first row with each other one, at the shift at which they differ least.

    A shift counts if it leaves ``min_words`` words to compare, and half of those there are.
    """
    counts = there.sum(axis=1)
    needed = np.maximum(min_words, np.minimum(counts[0], counts[1:]) // 2)
    best = np.full(len(words) - 1, np.inf)
    for shift in _shifts(rate):
        mine, theirs = _overridden(words.shape[1], shift)
        both = there[0, mine] & there[1:, theirs]
        apart = np.bitwise_count(words[0, mine] ^ words[1:, theirs])
        shared = both.sum(axis=1)
        bits = np.where(both, apart, 0).sum(axis=1) / np.maximum(shared, 1)
        best = np.where(shared >= needed, np.minimum(best, bits), best)
    return best


def _shifts(rate: int) -> range:
    most = round(_SHIFT_SECONDS * rate)
    return range(-most, most + 1)


def _overridden(length: int, shift: int) -> tuple[slice, slice]:
    """Lay one row over another that begins ``shift`` words later in it."""
    later, earlier = slice(abs(shift), length), slice(0, max(0, length - abs(shift)))
    return (later, earlier) if shift >= 0 else (earlier, later)


def _bits(words: Sequence[int]) -> Bits:
    """Unpack picture words to bits [words, 64]."""
    octets = np.array(words, ">i8").view(np.uint8).reshape(-1, 8)
    return np.unpackbits(octets, axis=1).astype(np.float32)


def _moves_alike(one: MediaHashRecord, other: MediaHashRecord) -> bool:
    """Say whether most stretches of two pictures change in the same bits at the same time."""
    first, second = _smooth(_bits(one.video)), _smooth(_bits(other.video))
    length = min(len(first), len(second))
    for shift in _shifts(VIDEO_HASH_RATE):
        mine, theirs = _overridden(length, shift)
        if _motion(first[mine], second[theirs]) >= _MIN_MOTION:
            return True
    return False


def _smooth(bits: Bits) -> Bits:
    return (bits[2:] + bits[1:-1] + bits[:-2]) / 3


def _motion(one: Bits, other: Bits) -> float:
    """Correlate two moving pictures: the median over their stretches in which both move.

    One event that many recordings share, such as the camera's opening, is one stretch of several.
    """
    ours, theirs = _stretches(one), _stretches(other)
    moves, moves_too = np.square(ours).sum(axis=(1, 2)), np.square(theirs).sum(axis=(1, 2))
    both = np.minimum(moves, moves_too) >= _MOVING_BITS * _STRETCH
    if both.sum() < _MIN_STRETCHES:
        return 0.0
    alike = (ours * theirs).sum(axis=(1, 2))[both] / np.sqrt(moves * moves_too)[both]
    return float(np.median(alike))


def _stretches(bits: Bits) -> Bits:
    """Cut into stretches of 3 s, each about its own mean [stretches, words, 64]."""
    count = len(bits) // _STRETCH
    rows = bits[: count * _STRETCH].reshape(count, _STRETCH, 64)
    return rows - rows.mean(axis=1, keepdims=True)
