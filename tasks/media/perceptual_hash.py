"""Perceptual hashes of a video and its audio, in bits that survive re-encoding.

Video: four words per second, each the difference hash of a frame scaled to 9 by 8 gray pixels. A
bit is set if a pixel is clearly brighter than its right neighbor.

Audio: sixteen 32-bit words per second, after Haitsma and Kalker, "A Highly Robust Audio
Fingerprinting System" (ISMIR 2002): a bit is set if the energy difference between two adjacent
bands of 300 to 3,000 Hz increased since the previous word. Inaudible words are `SILENT`, and so is
all audio that never changes, such as hum or noise.

Hashes do not depend on how a video is cut. Copies at other sizes, frame rates, codecs or volumes
differ in a few bits; `tasks.labels.duplicates` documents the limits.
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

_MIN_CONTRAST = 3  # of 256 levels: less is noise, and would flip with every encoding
_HOP = AUDIO_SAMPLE_RATE // AUDIO_HASH_RATE
_WINDOW = 6 * _HOP
_STEP = 2  # words between the two compared energies
_LOWEST_HZ, _HIGHEST_HZ = 300, 3_000
_QUIET = 1e-4  # of the loudest word's energy (-40 dB)
_NOISE_FLOOR = 1e-8  # of full scale's energy (-80 dB): 16-bit silence
_STEADY_DB = 1.5
_BLOCK = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaHashes:
    """A whole video's words in order of time; empty for a missing stream."""

    video: tuple[int, ...]
    audio: tuple[int, ...]


def hashes_of(gray: npt.NDArray[np.uint8], samples: npt.NDArray[np.int16]) -> MediaHashes:
    """Hash a video from its small gray frames [words, 8, 9] and its 16 kHz mono audio."""
    video, audio = video_hash(gray).tolist(), audio_hash(samples).tolist()
    return MediaHashes(video=tuple(video), audio=tuple(audio))


def video_hash(gray: npt.NDArray[np.uint8]) -> Words:
    """Hash each small gray frame [words, 8, 9] to one word."""
    levels = gray.astype(np.int16)
    bits = levels[:, :, :-1] > levels[:, :, 1:] + _MIN_CONTRAST
    packed = np.packbits(bits.reshape(len(bits), 64), axis=1)
    return packed.view(">i8").reshape(-1).astype(np.int64)


def audio_hash(samples: npt.NDArray[np.int16]) -> Words:
    """Hash 16 kHz mono audio to one word per sixteenth of a second."""
    energies = _band_energies(samples)
    if len(energies) <= _STEP:
        return np.zeros(0, np.int64)
    steps = energies[:, :-1] - energies[:, 1:]
    bits = steps[_STEP:] > steps[:-_STEP]
    words = bits @ (1 << np.arange(NUM_AUDIO_BITS, dtype=np.int64))
    words[~_is_audible(energies.sum(axis=1))[_STEP:]] = SILENT
    return words


def _is_audible(loudness: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Return which words are not far below the loudest one; none if the loudness is steady."""
    loudest = loudness.max()
    audible = loudness > max(_NOISE_FLOOR, _QUIET * loudest)
    if np.std(10 * np.log10(np.maximum(loudness, _NOISE_FLOOR))) < _STEADY_DB:
        audible[:] = False
    return audible


def _band_energies(samples: npt.NDArray[np.int16]) -> npt.NDArray[np.float64]:
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
        rows.append(np.add.reduceat(power, edges[:-1], axis=1))
    return np.concatenate(rows)
