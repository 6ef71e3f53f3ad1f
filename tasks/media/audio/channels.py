"""Levels of the two channels of decoded audio, and which of them to use.

A channel that is silent halves the level of a mix, and channels in antiphase cancel each other.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from storage.records import AUDIO_SAMPLE_RATE
from tasks.media.audio.quality import AUDIBLE_POWER, FULL_SCALE, clipped_samples
from tasks.media.audio.timeline import Chunk

_BATCH = 10 * AUDIO_SAMPLE_RATE
# -40 dB: the microphones of one device differ by a few dB.
_DEAD_RATIO = 1e-4
# -15 dB: channels that have nothing in common lose 3 dB in the mix.
_CANCELED_RATIO = 0.03
# Of the audible seconds: a mix that cancels for longer loses words.
_CANCELED_FRACTION = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelLevels:
    """Energy and clipping of each second that has audio, in order of time.

    Attributes:
        seconds: Seconds from the first frame, [n]; as few or many as have samples.
        num_samples: Samples of each second, [n].
        energy: Sums of squares of the left channel, the right one and their mean, [n, 3];
            1 is one sample at full scale.
        num_clipped: Samples clipped in either channel, [n].
    """

    seconds: npt.NDArray[np.int64]
    num_samples: npt.NDArray[np.int64]
    energy: npt.NDArray[np.float64]
    num_clipped: npt.NDArray[np.int64]

    @property
    def power(self) -> npt.NDArray[np.float64]:
        """Mean power of the left channel, the right one and their mean, [n, 3]."""
        return self.energy / self.num_samples[:, None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Downmix:
    """The channel that is used, 0 or 1, or ``None`` for the mix of all; and the reason."""

    channel: int | None = None
    dead_channel: bool = False
    antiphase: bool = False


def choose_downmix(levels: ChannelLevels) -> Downmix:
    """Mix all channels, unless one is dead or mixing cancels audible audio: use the louder one."""
    left, right, _ = levels.energy.sum(axis=0) if len(levels.energy) else np.zeros(3)
    louder = int(right > left)
    audible = levels.power[:, :2].max(axis=1) > AUDIBLE_POWER
    if not audible.any():
        return Downmix()
    if min(left, right) < _DEAD_RATIO * max(left, right):
        return Downmix(channel=louder, dead_channel=True)
    canceled = levels.power[:, 2] < _CANCELED_RATIO * levels.power[:, :2].mean(axis=1)
    if (canceled & audible).sum() > _CANCELED_FRACTION * audible.sum():
        return Downmix(channel=louder, antiphase=True)
    return Downmix()


def measure_channels(chunks: Iterable[Chunk]) -> ChannelLevels:
    """Measure stereo chunks [samples, 2] by second, from their timestamps alone."""
    sums: dict[int, npt.NDArray[np.float64]] = {}
    for positions, samples in _batches(chunks):
        seconds = positions // AUDIO_SAMPLE_RATE
        starts = np.flatnonzero(np.diff(seconds, prepend=seconds[0] - 1))
        for start, end in pairwise([*starts.tolist(), len(seconds)]):
            second = int(seconds[start])
            sums[second] = sums.get(second, 0.0) + _measure(samples[start:end])
    table = np.array([sums[second] for second in sorted(sums)]).reshape(-1, 5)
    return ChannelLevels(
        seconds=np.array(sorted(sums), np.int64),
        num_samples=table[:, 0].astype(np.int64),
        energy=table[:, 1:4],
        num_clipped=table[:, 4].astype(np.int64),
    )


def _measure(samples: npt.NDArray[np.int16]) -> npt.NDArray[np.float64]:
    """Return the number of samples, the energies of left, right and mean, and what is clipped."""
    left, right = np.ascontiguousarray(samples.T, np.float32) / np.float32(FULL_SCALE)
    of_left, of_right, of_both = left @ left, right @ right, left @ right
    mix = max(0.0, (of_left + of_right + 2 * of_both) / 4)
    clipped = clipped_samples(samples[:, 0]) | clipped_samples(samples[:, 1])
    return np.array([len(samples), of_left, of_right, mix, clipped.sum()], np.float64)


def _batches(
    chunks: Iterable[Chunk],
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int16]]]:
    """Join chunks to arrays of some seconds: the positions of samples, and the samples."""
    batch, length = list[Chunk](), 0
    for chunk in chunks:
        batch.append(chunk)
        length += len(chunk.samples)
        if length > _BATCH:
            yield _joined(batch)
            batch, length = [], 0
    if length:
        yield _joined(batch)


def _joined(batch: list[Chunk]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int16]]:
    positions = [np.arange(chunk.start, chunk.end) for chunk in batch]
    return np.concatenate(positions), np.concatenate([chunk.samples for chunk in batch])
