"""Perceptual hashes of a video and its audio, of what survives re-encoding and re-framing.

Motion: eight levels per second, each how much the small gray frames changed within half a second. A
crop, a mirror image, a rotation, a border or other colors scale these levels but keep their course.

Audio: 32 words per second, after Haitsma and Kalker, "A Highly Robust Audio Fingerprinting System"
(ISMIR 2002). Each of a word's 32 bits states whether the level difference between two adjacent
bands of 300 to 3,000 Hz increased within an eighth of a second. Unlike there, levels are in dB, and
a second word states which bits changed by enough to be evidence. Silence, hum and other steady
audio has no such bit.

Hashes do not depend on how a video is cut. `tasks.labels.duplicates` compares them.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from storage.records import AUDIO_SAMPLE_RATE

Words = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float64]

VIDEO_HASH_RATE = 16  # small gray frames per second
VIDEO_HASH_SIZE = (36, 32)
MOTION_HASH_RATE = 8
AUDIO_HASH_RATE = 32
NUM_AUDIO_BITS = 32
MOTION_SCALE = 16  # stored per unit of the root mean level change, at most 255 levels

_AVERAGED = 4  # frames: a copy at another frame rate shows neighboring ones
_LAG = VIDEO_HASH_RATE // 2
_SPACING = VIDEO_HASH_RATE // MOTION_HASH_RATE
_MIN_CHANGE = 2  # of 256 levels: less is noise

_HOP = AUDIO_SAMPLE_RATE // AUDIO_HASH_RATE
_WINDOW = 12 * _HOP
_STEP = AUDIO_HASH_RATE // 8  # words between the two compared levels
_LOWEST_HZ, _HIGHEST_HZ = 300, 3_000
_MIN_STEP_DB = 3.0
_QUIET = 1e-4  # of the loudest word's energy (-40 dB)
_NOISE_FLOOR = 1e-8  # of full scale's energy (-80 dB): 16-bit silence
_STEADY_DB = 1.5
_BLOCK = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaHashes:
    """A whole video's hashes in order of time, as `MediaHashRecord` has them."""

    motion: bytes
    audio: bytes


def hashes_of(gray: npt.NDArray[np.uint8], samples: npt.NDArray[np.int16]) -> MediaHashes:
    """Hash a video from its small gray frames [frames, height, width] and its 16 kHz mono audio."""
    return MediaHashes(
        motion=motion_hash(gray).tobytes(), audio=audio_hash(samples).astype("<u8").tobytes()
    )


def motion_levels_of(stored: bytes) -> npt.NDArray[np.uint8]:
    """Return the motion levels of a stored hash."""
    return np.frombuffer(stored, np.uint8)


def audio_words_of(stored: bytes) -> Words:
    """Return the words of a stored hash: bits in the lower half, and which count in the upper."""
    return np.frombuffer(stored, "<u8").astype(np.uint64)


def motion_hash(gray: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Measure how much each small gray frame differs from the one half a second earlier.

    Levels are square roots of the mean change, in units of 1 / `MOTION_SCALE`.
    """
    starts = range(0, len(gray) - _AVERAGED - _LAG + 1, _SPACING)
    levels = np.zeros(len(starts))
    for begin in range(0, len(starts), _BLOCK):
        end = min(len(starts), begin + _BLOCK)
        frames = gray[starts[begin] : starts[end - 1] + _AVERAGED + _LAG].astype(np.int16)
        length = (end - begin - 1) * _SPACING + 1 + _LAG
        totals = np.zeros((length, *frames.shape[1:]), np.int16)
        for shift in range(_AVERAGED):
            totals += frames[shift : shift + length]
        change = np.abs(totals[_LAG:] - totals[:-_LAG])[::_SPACING]
        change[change <= _MIN_CHANGE * _AVERAGED] = 0
        levels[begin:end] = MOTION_SCALE * np.sqrt(change.mean(axis=(1, 2)) / _AVERAGED)
    return np.minimum(np.round(levels), 255).astype(np.uint8)


def audio_hash(samples: npt.NDArray[np.int16]) -> Words:
    """Hash 16 kHz mono audio to one word per 32nd of a second."""
    energies = _band_energies(samples)
    if len(energies) <= _STEP:
        return np.zeros(0, np.uint64)
    loudness = energies.sum(axis=1)
    if np.std(10 * np.log10(np.maximum(loudness, _NOISE_FLOOR))) < _STEADY_DB:
        return np.zeros(len(energies) - _STEP, np.uint64)
    floor = max(_NOISE_FLOOR, _QUIET * loudness.max()) / energies.shape[1]
    levels = 10 * np.log10(energies + floor)
    slopes = levels[:, :-1] - levels[:, 1:]
    steps = slopes[_STEP:] - slopes[:-_STEP]
    return packed(steps > 0) | (packed(np.abs(steps) > _MIN_STEP_DB) << np.uint64(NUM_AUDIO_BITS))


def packed(bits: npt.NDArray[np.bool_]) -> Words:
    """Pack the 32 bits of each word [words, 32] into its lower half."""
    return bits @ (np.uint64(1) << np.arange(NUM_AUDIO_BITS, dtype=np.uint64))


def _band_energies(samples: npt.NDArray[np.int16]) -> Floats:
    """Sum the energy of 33 log-spaced bands in overlapping windows [words, bands]."""
    if len(samples) < _WINDOW:
        return np.zeros((0, NUM_AUDIO_BITS + 1))
    windows = np.lib.stride_tricks.sliding_window_view(samples, _WINDOW)[::_HOP]
    taper = (np.hanning(_WINDOW) / (_WINDOW / 2) / 32_768).astype(np.float32)
    edges_hz = np.geomspace(_LOWEST_HZ, _HIGHEST_HZ, NUM_AUDIO_BITS + 2)
    edges = np.round(edges_hz * _WINDOW / AUDIO_SAMPLE_RATE).astype(int)
    rows = []
    for begin in range(0, len(windows), _BLOCK):
        spectra = np.fft.rfft(windows[begin : begin + _BLOCK] * taper, axis=1)
        power = np.square(np.abs(spectra[:, : edges[-1]]))
        rows.append(np.add.reduceat(power, edges[:-1], axis=1).astype(np.float64))
    return np.concatenate(rows)
