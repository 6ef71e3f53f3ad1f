"""Perceptual prints: what a video looks and sounds like, in bits that survive encoding it again.

Picture: four words a second, each the difference hash of a frame shrunk to 9 by 8 grey dots. A bit
is set where a dot is clearly brighter than its right neighbour.

Sound: sixteen words a second of 32 bits each, after Haitsma and Kalker, "A Highly Robust Audio
Fingerprinting System" (ISMIR 2002): a bit says whether the step in energy between two neighbouring
bands of 300 to 3,000 Hz grew since the word before. Where nothing is to be heard the word is
`SILENT`; a sound that never changes, such as hum or hiss, is silent throughout.

MediaHashes do not depend on how a video is cut. Those of one video made at other sizes, rates, codecs or
volumes differ in a few bits; `tasks.labels.duplicates` tells how many are too many.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from storage.records import AUDIO_SAMPLE_RATE

Words = npt.NDArray[np.int64]

VIDEO_HASH_RATE = 4
VIDEO_HASH_SIZE = (9, 8)
AUDIO_HASH_RATE = 16
NUM_AUDIO_BITS = 32
SILENT = -1

_CLEARLY = 3  # of 256 levels: less is noise, and would be another bit in every encoding
_HOP = AUDIO_SAMPLE_RATE // AUDIO_HASH_RATE
_WINDOW = 6 * _HOP
_STEP = 2  # words, over which energy is compared
_LOWEST_HZ, _HIGHEST_HZ = 300, 3_000
_QUIET = 1e-4  # of the loudest word's energy (-40 dB)
_NOTHING = 1e-8  # of full scale's energy (-80 dB): what 16 bits hold of no sound at all
_STEADY_DB = 1.5
_BLOCK = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaHashes:
    """A whole video's words, in order of time; ``sound`` is empty for a video without sound."""

    video: tuple[int, ...]
    audio: tuple[int, ...]


def hashes_of(grey: npt.NDArray[np.uint8], samples: npt.NDArray[np.int16]) -> MediaHashes:
    """Print a video by its small grey frames [words, 8, 9] and its 16 kHz mono sound."""
    video, audio = video_hash(grey).tolist(), audio_hash(samples).tolist()
    return MediaHashes(video=tuple(video), audio=tuple(audio))


def video_hash(grey: npt.NDArray[np.uint8]) -> Words:
    """Hash small grey frames [words, 8, 9] to one word each."""
    levels = grey.astype(np.int16)
    bits = levels[:, :, :-1] > levels[:, :, 1:] + _CLEARLY
    packed = np.packbits(bits.reshape(len(bits), 64), axis=1)
    return packed.view(">i8").reshape(-1).astype(np.int64)


def audio_hash(samples: npt.NDArray[np.int16]) -> Words:
    """Hash 16 kHz mono sound to one word for each sixteenth of a second."""
    energies = _band_energies(samples)
    if len(energies) <= _STEP:
        return np.zeros(0, np.int64)
    steps = energies[:, :-1] - energies[:, 1:]
    bits = steps[_STEP:] > steps[:-_STEP]
    words = bits @ (1 << np.arange(NUM_AUDIO_BITS, dtype=np.int64))
    words[~_is_heard(energies.sum(axis=1))[_STEP:]] = SILENT
    return words


def _is_heard(loudness: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Say where a sound is neither far below its own loudest part nor, as a whole, steady."""
    loudest = loudness.max()
    heard = loudness > max(_NOTHING, _QUIET * loudest)
    if np.std(10 * np.log10(np.maximum(loudness, _NOTHING))) < _STEADY_DB:
        heard[:] = False
    return heard


def _band_energies(samples: npt.NDArray[np.int16]) -> npt.NDArray[np.float64]:
    """Sum the energy in 33 bands, logarithmically spaced, of overlapping windows [words, bands]."""
    if len(samples) < _WINDOW:
        return np.zeros((0, NUM_AUDIO_BITS + 1))
    windows = np.lib.stride_tricks.sliding_window_view(samples, _WINDOW)[::_HOP]
    shape = (np.hanning(_WINDOW) / (_WINDOW / 2) / 32_768).astype(np.float32)
    edges_hz = np.geomspace(_LOWEST_HZ, _HIGHEST_HZ, NUM_AUDIO_BITS + 2)
    edges = np.round(edges_hz * _WINDOW / AUDIO_SAMPLE_RATE).astype(int)
    rows = []
    for begin in range(0, len(windows), _BLOCK):
        spectra = np.fft.rfft(windows[begin : begin + _BLOCK] * shape, axis=1)
        power = np.square(np.abs(spectra[:, : edges[-1]]))
        rows.append(np.add.reduceat(power, edges[:-1], axis=1))
    return np.concatenate(rows)
