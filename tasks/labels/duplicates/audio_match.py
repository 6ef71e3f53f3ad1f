"""Decide whether one video's audio is contained in another's, at whatever offset and speed."""

from functools import cached_property

import numpy as np
import numpy.typing as npt

from tasks.labels.duplicates.audio_index import Candidate
from tasks.media.perceptual_hash import AUDIO_HASH_RATE, NUM_AUDIO_BITS, Words

Mask = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]

MIN_COVERAGE = 0.8
MIN_SECONDS = 3
_MIN_FRACTION = 0.4  # of the duration: two videos with the same jingle and silence are no copies
_MAX_ERRORS = 0.25  # of the bits that are evidence in both; different audio has 0.4 and more

_STRETCH = AUDIO_HASH_RATE
_MIN_ACTIVE = _STRETCH * NUM_AUDIO_BITS // 10
_MIN_COMMON = _MIN_ACTIVE // 2
_MIN_COMMON_FRACTION = 0.4
_SPEEDS = np.round(np.arange(0.88, 1.1301, 0.01), 2)
_VOTE_BIN = 4
_JITTER = range(-3, 4)  # words by which a stretch may be off the line
_LAGS = range(AUDIO_HASH_RATE // 4, 10 * AUDIO_HASH_RATE)
_MIN_REPEATED = 0.5  # of the stretches that a lag must repeat


class AudioTrack:
    """One video's audio hash, split into bits and into which of them are evidence."""

    def __init__(self, words: Words) -> None:
        self.words = words
        self.bits = words & np.uint64(2**NUM_AUDIO_BITS - 1)
        self.active = words >> np.uint64(NUM_AUDIO_BITS)

    def __len__(self) -> int:
        return len(self.bits)

    @property
    def num_stretches(self) -> int:
        """Whole seconds."""
        return len(self) // _STRETCH

    @cached_property
    def is_evidence(self) -> Mask:
        """Return which seconds change enough to be recognized [stretches]."""
        return _per_stretch(np.bitwise_count(self.active)) >= _MIN_ACTIVE

    @cached_property
    def is_distinctive(self) -> Mask:
        """Return the same without seconds that repeat: beeps and music loops are in many videos."""
        distinctive = self.is_evidence.copy()
        for lag in _LAGS:
            if lag >= len(self):
                break
            times = np.arange(len(self)) + lag
            repeated = self.is_evidence & _matches(self, self, times)
            if repeated.sum() >= _MIN_REPEATED * self.is_evidence[: self.num_stretches].sum():
                distinctive &= ~repeated
        return distinctive

    @cached_property
    def has_evidence(self) -> bool:
        """Return whether the audio alone could identify a copy."""
        return _is_enough(int(self.is_evidence.sum()), self.num_stretches)


def is_contained(one: AudioTrack, other: AudioTrack, candidate: Candidate) -> bool:
    """Return whether nearly all of one video's distinctive audio is in the other's, in order."""
    speed, offset = _best_line(candidate)
    forward = np.round(offset + speed * np.arange(len(one))).astype(int)
    backward = np.round((np.arange(len(other)) - offset) / speed).astype(int)
    return _covers(one, other, forward) or _covers(other, one, backward)


def _covers(part: AudioTrack, whole: AudioTrack, times: Counts) -> bool:
    """Return whether ``whole`` contains ``part``, whose words are at ``times`` in it."""
    if part.is_evidence.sum() < MIN_SECONDS:
        return False
    matches = _matches(part, whole, times)
    if (matches & part.is_evidence).sum() < MIN_COVERAGE * part.is_evidence.sum():
        return False
    return _is_enough(int((matches & part.is_distinctive).sum()), part.num_stretches)


def _is_enough(num_seconds: int, num_stretches: int) -> bool:
    return num_seconds >= max(MIN_SECONDS, _MIN_FRACTION * num_stretches)


def _best_line(candidate: Candidate) -> tuple[float, int]:
    """Return the speed and the offset, in words, on which most common keys are."""
    best = (0, 0.0, 1.0, 0)
    for speed in _SPEEDS:
        offsets = np.round(candidate.other_times - speed * candidate.one_times).astype(int)
        low = offsets.min()
        votes = np.bincount(offsets - low, minlength=_VOTE_BIN)
        near = np.convolve(votes, np.ones(_VOTE_BIN, int), "same")
        found = int(near.argmax())
        best = max(best, (int(near[found]), -abs(speed - 1), float(speed), int(low) + found))
    return best[2], best[3]


def _matches(part: AudioTrack, whole: AudioTrack, times: Counts) -> Mask:
    """Return which seconds of ``part`` agree with ``whole``, whose words are at ``times``."""
    matches = np.zeros(part.num_stretches, bool)
    jitters = _JITTER if part is not whole else (0,)
    for jitter in jitters:
        at = times + jitter
        inside = (at >= 0) & (at < len(whole))
        at = np.where(inside, at, 0)
        common = np.where(inside, part.active & whole.active[at], np.uint64(0))
        num_common = _per_stretch(np.bitwise_count(common))
        num_errors = _per_stretch(np.bitwise_count(common & (part.bits ^ whole.bits[at])))
        enough = np.maximum(
            _MIN_COMMON, _MIN_COMMON_FRACTION * _per_stretch(np.bitwise_count(part.active))
        )
        matches |= (num_common >= enough) & (num_errors <= _MAX_ERRORS * num_common)
    return matches


def _per_stretch(counts: npt.NDArray[np.uint8]) -> Counts:
    """Sum over each whole second [words] -> [stretches]."""
    whole = len(counts) // _STRETCH * _STRETCH
    return counts[:whole].reshape(-1, _STRETCH).sum(axis=1, dtype=np.int64)
