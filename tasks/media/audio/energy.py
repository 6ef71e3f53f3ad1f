"""Compare the energy of the written audio with the source's, measured on a path of its own.

The source's levels come from ffmpeg's stereo output by timestamps alone; the written audio went
from the mono output over the timeline into files, which are read again. Audio that was lost,
silenced or moved on that way differs, whatever the cause.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from storage.errors import ItemFault
from storage.records import AUDIO_SAMPLE_RATE
from tasks.media.audio.command import audio_name
from tasks.media.audio.decode import DecodedAudio
from tasks.media.audio.quality import AUDIBLE_POWER, FULL_SCALE
from tasks.media.audio.segments import SegmentAudio
from tasks.media.audio.wav import read_audio
from tasks.media.plan import PlannedSegment

# 6 dB: the stereo output has mono audio 3 dB lower, and half a second may lie in the next bin.
_TOLERANCE = 4.0


def check_energy(
    audio: DecodedAudio,
    plan: Sequence[PlannedSegment],
    written: Sequence[SegmentAudio],
    folder: Path,
) -> None:
    """Check each whole second of the written files against the source.

    A second passes if its energy is within 6 dB of the source's in that second or a neighbor,
    because timestamps jitter.

    Raises:
        ItemFault: in some seconds, the energy of the written audio is not the source's.
    """
    expected = _expected_energy(audio)
    found = _written_energy(plan, written, folder)
    floor = AUDIBLE_POWER * AUDIO_SAMPLE_RATE
    faults = []
    for second in sorted(found.keys() & expected.keys()):
        near = [expected[s] for s in range(second - 1, second + 2) if s in expected]
        too_low = found[second] * _TOLERANCE < min(near) > floor
        too_high = found[second] > _TOLERANCE * max(*near, floor)
        if too_low or too_high:
            faults.append(second)
    if faults:
        raise ItemFault(
            f"the written audio is not the source's: in {len(faults)} of {len(found)} s its energy "
            f"differs by more than 6 dB, first at {faults[0]} s; please report this file's format"
        )


def _expected_energy(audio: DecodedAudio) -> dict[int, float]:
    """Return the source's energy by second, where it has at most one sample for each moment."""
    levels = audio.levels
    column = 2 if audio.downmix.channel is None else audio.downmix.channel
    unique = levels.num_samples <= 1.1 * AUDIO_SAMPLE_RATE
    energies = levels.energy[unique, column].tolist()
    return dict(zip(levels.seconds[unique].tolist(), energies, strict=True))


def _written_energy(
    plan: Sequence[PlannedSegment], written: Sequence[SegmentAudio], folder: Path
) -> dict[int, float]:
    """Sum the squares of the files' samples by second, for seconds that files cover as a whole."""
    energy: dict[int, float] = {}
    length: dict[int, int] = {}
    for segment, its in zip(plan, written, strict=True):
        if not its.is_written:
            continue
        squares = np.square(read_audio(folder / audio_name(segment.index)) / FULL_SCALE)
        seconds = np.arange(segment.first_sample, segment.first_sample + len(squares))
        seconds //= AUDIO_SAMPLE_RATE
        starts = np.flatnonzero(np.diff(seconds, prepend=-1))
        lengths = np.diff(np.append(starts, len(squares)))
        sums = np.add.reduceat(squares, starts)
        for second, total, count in zip(
            seconds[starts].tolist(), sums.tolist(), lengths.tolist(), strict=True
        ):
            energy[second] = energy.get(second, 0.0) + total
            length[second] = length.get(second, 0) + count
    return {second: energy[second] for second in energy if length[second] == AUDIO_SAMPLE_RATE}
