"""Measures of decoded audio: what decoded, digital silence, level and clipping."""

import math

import numpy as np
import numpy.typing as npt

from storage.media_records import AudioQuality
from storage.records import AUDIO_SAMPLE_RATE
from tasks.media.audio.timeline import Spans, Timeline, covered_by

FULL_SCALE = 32_768.0
AUDIBLE_DBFS = -60.0  # far below speech at any usable gain
AUDIBLE_POWER = 10 ** (AUDIBLE_DBFS / 10)  # of full scale

_MIN_DBFS = -120.0
_WINDOW = AUDIO_SAMPLE_RATE // 50
# -80 dBFS in 20 ms: quieter than any microphone, louder than what a codec makes of zeros.
_SILENT_POWER = 1e-8
# Resampling and codecs ripple the flat tops of clipped waves by a few percent.
_CLIPPED_LEVEL = int(0.97 * FULL_SCALE)
_CLIPPED_RUN = 3


def measure_audio(timeline: Timeline, present: Spans, start: int, end: int) -> AudioQuality:
    """Measure the audio at ``[start, end)``; without a sample there is nothing but silence."""
    samples = timeline.decoded(start, end)
    power = np.square(samples / FULL_SCALE)
    mean = float(power.mean()) if len(samples) else 0.0
    return AudioQuality(
        decoded_fraction=covered_by(present, start, end) / max(1, end - start),
        silence_fraction=_silent_fraction(power),
        rms_dbfs=max(_MIN_DBFS, 10 * math.log10(mean)) if mean else _MIN_DBFS,
        clipped_fraction=float(clipped_samples(samples).mean()) if len(samples) else 0.0,
    )


def clipped_samples(samples: npt.NDArray[np.int16]) -> npt.NDArray[np.bool_]:
    """Return which samples are in runs of at least three near full scale."""
    high = (samples >= _CLIPPED_LEVEL) | (samples <= -_CLIPPED_LEVEL)
    if not high.any():
        return high
    starts, ends = np.flatnonzero(np.diff(high, prepend=False, append=False)).reshape(-1, 2).T
    is_long = ends - starts >= _CLIPPED_RUN
    steps = np.zeros(len(high) + 1, np.int8)
    steps[starts[is_long]], steps[ends[is_long]] = 1, -1
    return np.cumsum(steps[:-1], dtype=np.int8).astype(np.bool_)


def _silent_fraction(power: npt.NDArray[np.float64]) -> float:
    """Return the fraction of windows of 20 ms that are silent; 1 without samples."""
    if not len(power):
        return 1.0
    starts = np.arange(0, len(power), _WINDOW)
    sums = np.add.reduceat(power, starts)
    lengths = np.diff(np.append(starts, len(power)))
    return float(lengths[sums <= _SILENT_POWER * lengths].sum() / len(power))
