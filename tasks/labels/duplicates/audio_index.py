"""Search for videos with common audio, by an index of the parts of their hashes' words.

Comparing all pairs would take weeks for 10,000 videos. A key is 24 adjacent bits of one word, half
of which must be evidence. Common audio repeats the same keys at the same distance in time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tasks.media.perceptual_hash import AUDIO_HASH_RATE, NUM_AUDIO_BITS, Words

Indices = npt.NDArray[np.int64]

_KEY_BITS = 24
_POSITIONS = (0, 4, 8)
_MIN_ACTIVE = 12
_INDEXED_RATE = 16  # words per second; all words of the other video are looked up
_MAX_POSTINGS = 1_000  # of one key: audio that is in so many videos identifies none
_OFFSET_BIN = AUDIO_HASH_RATE // 4
_VOTER = AUDIO_HASH_RATE // 2
_MIN_VOTES = 4
_MIN_VOTES_OF_SHORT = 3
_SHORT = 12 * AUDIO_HASH_RATE


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """Two videos, by index, and the words at which they have common keys."""

    one: int
    other: int
    one_times: Indices
    other_times: Indices


@dataclass(frozen=True, slots=True, kw_only=True)
class _Index:
    """Keys of all videos, sorted, with the video and the word that each is from."""

    keys: Indices
    videos: Indices
    times: Indices


def iter_candidates(words: Sequence[Words]) -> Iterator[Candidate]:
    """Yield the pairs of videos in which enough common keys are at about the same distance."""
    if len(words) < 2:
        return
    index = _build_index(words)
    is_short = np.array([len(own) < _SHORT for own in words])
    for video, own in enumerate(words):
        times, keys = _keys_of(own)
        first = np.searchsorted(index.keys, keys, side="left")
        counts = np.searchsorted(index.keys, keys, side="right") - first
        counts[counts > _MAX_POSTINGS] = 0
        postings = np.repeat(first - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
        own_times = np.repeat(times, counts)
        needed = np.where(is_short | is_short[video], _MIN_VOTES_OF_SHORT, _MIN_VOTES)
        yield from _voted(video, own_times, index.videos[postings], index.times[postings], needed)


def _build_index(words: Sequence[Words]) -> _Index:
    step = AUDIO_HASH_RATE // _INDEXED_RATE
    keys, videos, times = [], [], []
    for video, own in enumerate(words):
        own_times, own_keys = _keys_of(own[::step])
        keys.append(own_keys)
        times.append(own_times * step)
        videos.append(np.full(len(own_keys), video, np.int64))
    joined = np.concatenate(keys)
    order = np.argsort(joined, kind="stable")
    return _Index(
        keys=joined[order], videos=np.concatenate(videos)[order], times=np.concatenate(times)[order]
    )


def _keys_of(words: Words) -> tuple[Indices, Indices]:
    """Return the keys of a video and the words that they are from."""
    bits, active = words & np.uint64(2**NUM_AUDIO_BITS - 1), words >> np.uint64(NUM_AUDIO_BITS)
    mask = np.uint64(2**_KEY_BITS - 1)
    times, keys = [], []
    for number, position in enumerate(_POSITIONS):
        shift = np.uint64(position)
        found = np.flatnonzero(np.bitwise_count((active >> shift) & mask) >= _MIN_ACTIVE)
        times.append(found)
        keys.append(((bits[found] >> shift) & mask).astype(np.int64) | number << _KEY_BITS)
    return np.concatenate(times), np.concatenate(keys)


def _voted(
    video: int, own_times: Indices, others: Indices, other_times: Indices, needed: Indices
) -> Iterator[Candidate]:
    """Yield the later videos with the ``needed`` votes [videos] for about one distance in time."""
    later = others > video
    own_times, others, other_times = own_times[later], others[later], other_times[later]
    bins = (other_times - own_times) // _OFFSET_BIN
    bins -= bins.min(initial=0) - 1
    width = bins.max(initial=0) + 2
    # Neighboring words often have the same key: each stretch of either video votes once.
    voters = int(own_times.max(initial=0)) // _VOTER + 1
    distinct = np.unique((others * width + bins) * voters + own_times // _VOTER)
    cells, votes = np.unique(distinct // voters, return_counts=True)
    beside = np.append(cells[1:] == cells[:-1] + 1, False)[: len(cells)]
    votes = votes + np.where(beside, np.append(votes[1:], 0)[: len(cells)], 0)
    for other in np.unique((cells // width)[votes >= needed[cells // width]]):
        chosen = others == other
        yield Candidate(
            one=video,
            other=int(other),
            one_times=own_times[chosen],
            other_times=other_times[chosen],
        )
