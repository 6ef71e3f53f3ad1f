"""WAV files of segments: 16 kHz mono 16-bit PCM."""

import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt

from storage.records import AUDIO_SAMPLE_RATE


def read_audio(path: Path) -> npt.NDArray[np.int16]:
    """Read the samples of a 16-bit mono WAV file; empty if the file does not exist."""
    if not path.exists():
        return np.zeros(0, np.int16)
    with wave.open(str(path), "rb") as stream:
        return np.frombuffer(stream.readframes(stream.getnframes()), np.int16)


def write_audio(path: Path, samples: npt.NDArray[np.int16]) -> None:
    """Write 16 kHz mono samples as a 16-bit WAV file."""
    with wave.open(str(path), "wb") as stream:
        stream.setparams((1, 2, AUDIO_SAMPLE_RATE, 0, "NONE", "not compressed"))
        stream.writeframes(samples.tobytes())
