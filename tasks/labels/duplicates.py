"""Find videos of a data set that are one recording, re-encoded, scaled or trimmed.

Two videos are one recording if they show the same scene and have the same audio. If one of them has
no audio to compare, their motion must agree as well, stretch by stretch; without enough motion
either (black, static, under 9 s) nothing distinguishes them from another recording, and they are
not called duplicates. A file without video is compared with all others by its audio only. Hashes
are compared within half a second of shift at either end.

Measured on 87 videos of 8 to 28 s and 219 copies of 41 of them (H.264, MPEG-4 and VP8 down to 240
by 180, 12 to 30 frames per second, other volumes, 8 kHz audio, brightened, up to 0.5 s trimmed),
and on 9,300 pairs of different videos of similar length, 966 of them of one person in front of one
background:

                              one recording     different        limit
    differing video bits      up to 3.2 of 64   4.2 and more     5
    differing audio bits      up to 0.21        0.45 and more    0.30
    common motion             0.80 and more     up to 0.32       0.75

The scene alone is therefore never sufficient. Synthetic faces that all sway by one formula have up
to 0.72 common motion.
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
_MAX_AUDIO_FRACTION = 0.30
_MIN_MOTION = 0.75

_SHIFT_SECONDS = 0.75
_MAX_LENGTH_DIFFERENCE = 5  # video words: half a second trimmed at either end, and rounding
_MAX_AUDIO_LENGTH_DIFFERENCE = _MAX_LENGTH_DIFFERENCE * AUDIO_HASH_RATE // VIDEO_HASH_RATE
_MIN_AUDIBLE = 2 * AUDIO_HASH_RATE
_STRETCH = 3 * VIDEO_HASH_RATE
_MIN_STRETCHES = 3
_MOVING_BITS = 0.1  # variance, summed over the 64 bits: less is noise of a static scene

Indices = npt.NDArray[np.intp]
Bits = npt.NDArray[np.floating[Any]]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def find_duplicates(hashes: Sequence[MediaHashRecord]) -> list[tuple[VideoId, ...]]:
    """Group the videos that are one recording; a video without duplicates is in no group.

    Ids are sorted within a group, and groups by their first id.
    """
    with_video = [row for row in hashes if row.video]
    by_length = sorted(with_video, key=lambda row: (len(row.video), row.video_id))
    with_audio = [row for row in hashes if row.audio]
    group_of = {row.video_id: row.video_id for row in (*by_length, *with_audio)}
    for one, other in chain(_iter_video_pairs(by_length), _iter_audio_pairs(with_audio)):
        kept, merged = sorted((group_of[one.video_id], group_of[other.video_id]))
        group_of.update({name: kept for name, group in group_of.items() if group == merged})
    groups: dict[VideoId, list[VideoId]] = defaultdict(list)
    for video_id, group in group_of.items():
        groups[group].append(video_id)
    return sorted(tuple(sorted(group)) for group in groups.values() if len(group) > 1)


def _iter_video_pairs(
    by_length: Sequence[MediaHashRecord],
) -> Iterator[tuple[MediaHashRecord, MediaHashRecord]]:
    """Compare each video with those of similar length, the cheapest comparison first."""
    videos = [np.array(row.video) for row in by_length]
    audios = [np.array(row.audio, np.int64) for row in by_length]
    lengths = np.array([len(row.video) for row in by_length])
    scenes = np.array([_bits(row.video).mean(axis=0) for row in by_length])  # [videos, 64]
    for index, row in enumerate(by_length):
        end = int(np.searchsorted(lengths, lengths[index] + _MAX_LENGTH_DIFFERENCE, side="right"))
        near = np.arange(index + 1, end)
        # The difference of means is a lower bound of the mean difference, except for trims.
        distance = np.abs(scenes[near] - scenes[index]).sum(axis=1)
        near = near[distance <= 2 * _MAX_VIDEO_BITS]
        near = near[_video_distances(videos, index, near) <= _MAX_VIDEO_BITS]
        bits, comparable = _audio_distances(audios, index, near)
        same = comparable & (bits <= _MAX_AUDIO_FRACTION * NUM_AUDIO_BITS)
        for other, same_audio, has_audio in zip(near, same, comparable, strict=True):
            if same_audio or (not has_audio and _same_motion(row, by_length[other])):
                yield row, by_length[other]


def _iter_audio_pairs(
    with_audio: Sequence[MediaHashRecord],
) -> Iterator[tuple[MediaHashRecord, MediaHashRecord]]:
    """Compare each file without video with all files with audio of similar length."""
    audios = [np.array(row.audio, np.int64) for row in with_audio]
    lengths = np.array([len(row.audio) for row in with_audio])
    for index, row in enumerate(with_audio):
        if row.video:
            continue
        near = np.flatnonzero(np.abs(lengths - lengths[index]) <= _MAX_AUDIO_LENGTH_DIFFERENCE)
        near = near[near != index]
        bits, comparable = _audio_distances(audios, index, near)
        for other in near[comparable & (bits <= _MAX_AUDIO_FRACTION * NUM_AUDIO_BITS)]:
            yield row, with_audio[other]


def _video_distances(videos: Sequence[Words], index: int, near: Indices) -> Floats:
    """Return the mean number of differing bits per word of each near video, at the best shift."""
    words, valid = _padded([videos[index], *(videos[other] for other in near)])
    return _min_distances(words, valid, VIDEO_HASH_RATE, min_words=1)


def _audio_distances(audios: Sequence[Words], index: int, near: Indices) -> tuple[Floats, Mask]:
    """Return the same for audio, over words audible in both, and where there are enough of them."""
    words, valid = _padded([audios[index], *(audios[other] for other in near)])
    valid &= words != SILENT
    counts = valid.sum(axis=1)
    enough = np.minimum(counts[0], counts[1:]) >= _MIN_AUDIBLE
    return _min_distances(words, valid, AUDIO_HASH_RATE, _MIN_AUDIBLE), enough


def _padded(rows: Sequence[Words]) -> tuple[Words, Mask]:
    """Pad rows of words to one array [rows, words], with a mask of the valid words."""
    longest = max(len(row) for row in rows)
    words, valid = np.zeros((len(rows), longest), np.int64), np.zeros((len(rows), longest), bool)
    for index, row in enumerate(rows):
        words[index, : len(row)], valid[index, : len(row)] = row, True
    return words, valid


def _min_distances(words: Words, valid: Mask, rate: int, min_words: int) -> Floats:
    """Compare the first row with every other row, at the shift with the fewest differing bits.

    A shift counts if it leaves ``min_words`` valid words to compare, and half of the valid words.
    """
    counts = valid.sum(axis=1)
    needed = np.maximum(min_words, np.minimum(counts[0], counts[1:]) // 2)
    best = np.full(len(words) - 1, np.inf)
    for shift in _shifts(rate):
        mine, theirs = _shifted(words.shape[1], shift)
        both = valid[0, mine] & valid[1:, theirs]
        differing = np.bitwise_count(words[0, mine] ^ words[1:, theirs])
        num_compared = both.sum(axis=1)
        bits = np.where(both, differing, 0).sum(axis=1) / np.maximum(num_compared, 1)
        best = np.where(num_compared >= needed, np.minimum(best, bits), best)
    return best


def _shifts(rate: int) -> range:
    most = round(_SHIFT_SECONDS * rate)
    return range(-most, most + 1)


def _shifted(length: int, shift: int) -> tuple[slice, slice]:
    """Return the slices of two rows that overlap if the second is shifted by ``shift`` words."""
    later, earlier = slice(abs(shift), length), slice(0, max(0, length - abs(shift)))
    return (later, earlier) if shift >= 0 else (earlier, later)


def _bits(words: Sequence[int]) -> Bits:
    """Unpack video words to bits [words, 64]."""
    octets = np.array(words, ">i8").view(np.uint8).reshape(-1, 8)
    return np.unpackbits(octets, axis=1).astype(np.float32)


def _same_motion(one: MediaHashRecord, other: MediaHashRecord) -> bool:
    """Return whether most stretches of two videos change in the same bits at the same time."""
    first, second = _smooth(_bits(one.video)), _smooth(_bits(other.video))
    length = min(len(first), len(second))
    for shift in _shifts(VIDEO_HASH_RATE):
        mine, theirs = _shifted(length, shift)
        if _common_motion(first[mine], second[theirs]) >= _MIN_MOTION:
            return True
    return False


def _smooth(bits: Bits) -> Bits:
    return (bits[2:] + bits[1:-1] + bits[:-2]) / 3


def _common_motion(one: Bits, other: Bits) -> float:
    """Correlate the motion of two videos: the median over the stretches in which both move.

    By the median, an event that many recordings have in common, such as the start of the camera, is
    only one stretch of several.
    """
    mine, theirs = _stretches(one), _stretches(other)
    energy, other_energy = np.square(mine).sum(axis=(1, 2)), np.square(theirs).sum(axis=(1, 2))
    both = np.minimum(energy, other_energy) >= _MOVING_BITS * _STRETCH
    if both.sum() < _MIN_STRETCHES:
        return 0.0
    correlations = (mine * theirs).sum(axis=(1, 2))[both] / np.sqrt(energy * other_energy)[both]
    return float(np.median(correlations))


def _stretches(bits: Bits) -> Bits:
    """Split into stretches of 3 s, each centered on its own mean [stretches, words, 64]."""
    count = len(bits) // _STRETCH
    rows = bits[: count * _STRETCH].reshape(count, _STRETCH, 64)
    return rows - rows.mean(axis=1, keepdims=True)
