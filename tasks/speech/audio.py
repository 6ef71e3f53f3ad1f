"""A video's whole audio, joined from its segments without a missing or repeated sample.

Segments without audio are silent, so that words have the times of the video.
"""

import wave
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from storage.errors import ItemFault
from storage.media_records import SegmentRecord
from storage.records import AUDIO_SAMPLE_RATE
from storage.store.store import Store

_SAMPLES_PER_MS = AUDIO_SAMPLE_RATE // 1000


def read_video_audio(store: Store, segments: Sequence[SegmentRecord]) -> npt.NDArray[np.float32]:
    """Read a video's 16 kHz mono audio in [-1, 1); empty for a video without audio.

    Raises:
        ItemFault: a stored audio file does not match its segment's record.
    """
    parts: list[npt.NDArray[np.int16]] = []
    length = 0
    for segment in segments:
        if segment.audio_path is None:
            continue
        # Segments start on frames, which need not be on a whole millisecond.
        missing = segment.start_ms * _SAMPLES_PER_MS - length
        if missing > _SAMPLES_PER_MS:
            parts.append(np.zeros(missing, np.int16))
            length += missing
        parts.append(_read(store, segment))
        length += segment.num_samples
    whole = np.concatenate(parts) if parts else np.zeros(0, np.int16)
    return whole.astype(np.float32) / np.float32(32_768)


def _read(store: Store, segment: SegmentRecord) -> npt.NDArray[np.int16]:
    with store.open(str(segment.audio_path)) as stream, wave.open(stream, "rb") as audio:
        rate, channels = audio.getframerate(), audio.getnchannels()
        samples = np.frombuffer(audio.readframes(audio.getnframes()), np.int16)
    if (rate, channels, len(samples)) != (AUDIO_SAMPLE_RATE, 1, segment.num_samples):
        raise ItemFault(
            f"segment {segment.index}: its audio file has {len(samples)} samples of {channels} "
            f"channels at {rate} Hz, expected {segment.num_samples} of 1 at {AUDIO_SAMPLE_RATE}"
        )
    return samples
