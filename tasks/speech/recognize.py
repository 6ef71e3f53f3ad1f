"""Transcription of a whole video's audio to words with times, by faster-whisper."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from storage.errors import ConfigError, StageError
from storage.records import AUDIO_SAMPLE_RATE, Word

if TYPE_CHECKING:
    from faster_whisper import WhisperModel

_SHORTEST_SECONDS = 0.1
_BATCH_SIZE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognition:
    """Recognized words; ``language`` is ``None`` without speech."""

    language: str | None
    words: tuple[Word, ...]


NO_SPEECH = Recognition(language=None, words=())


def recognize(
    samples: npt.NDArray[np.float32],
    model: "WhisperModel",
    *,
    language: str | None,
    voice_filter: bool,
    voice_threshold: float,
    min_silence_ms: int,
    window_seconds: int,
    beam_size: int,
    predict_times: bool,
) -> Recognition:
    """Transcribe 16 kHz mono samples in [-1, 1); silence has no words.

    Word times come from cross-attention (Whisper's alignment heads), in steps of 20 ms.

    Raises:
        ConfigError: the model does not support the language.
        StageError: the model failed while running.
    """
    if len(samples) < _SHORTEST_SECONDS * AUDIO_SAMPLE_RATE:
        return NO_SPEECH
    _check_language(language, model)
    options: dict[str, Any] = {
        "language": language,
        "word_timestamps": True,
        "beam_size": beam_size,
        "chunk_length": window_seconds,
        "without_timestamps": not predict_times,
        "batch_size": _BATCH_SIZE,
    }
    duration_ms = len(samples) * 1000 // AUDIO_SAMPLE_RATE
    if voice_filter:
        vad = {"threshold": voice_threshold, "min_silence_duration_ms": min_silence_ms}
        options |= {"vad_filter": True, "vad_parameters": vad}
    else:
        options |= {"clip_timestamps": _equal_windows(duration_ms, window_seconds)}
    raw_words, detected_language = _run(model, samples, options)
    words = ordered_words(raw_words, duration_ms)
    return Recognition(language=detected_language if words else None, words=words)


def _check_language(language: str | None, model: "WhisperModel") -> None:
    supported = sorted(model.supported_languages)
    if language is not None and language not in supported:
        raise ConfigError(
            f"Setting 'transcribe.language' is {language!r}, but the speech model supports "
            f"{', '.join(supported)}: set one of these, or none to detect it."
        )


def _run(
    model: "WhisperModel", samples: npt.NDArray[np.float32], options: dict[str, Any]
) -> tuple[list[Any], str]:
    """Run faster-whisper; a pipeline keeps state, so every video gets its own."""
    from faster_whisper import BatchedInferencePipeline

    try:
        segments, info = BatchedInferencePipeline(model).transcribe(samples, **options)
        return [word for segment in segments for word in segment.words or ()], info.language
    except RuntimeError as error:  # CTranslate2; the samples are valid, so the device failed
        raise StageError(
            f"The speech model failed ({error}): free memory on the device, or choose a smaller "
            "model or another compute_type in the section [transcribe]."
        ) from error


def _equal_windows(duration_ms: int, window_seconds: int) -> list[dict[str, float]]:
    """Split the audio into windows of equal length, for use without voice activity detection."""
    count = -(-duration_ms // (window_seconds * 1000))
    edges = [duration_ms * number / count / 1000 for number in range(count + 1)]
    return [{"start": a, "end": b} for a, b in pairwise(edges)]


def ordered_words(words: Iterable[Any], duration_ms: int) -> tuple[Word, ...]:
    """Round word times to milliseconds within ``[0, duration_ms]`` and remove overlaps.

    faster-whisper returns seconds, blank words and, at window edges, small overlaps.
    """
    ordered: list[Word] = []
    last_end_ms = 0
    for word in words:
        text = word.word.strip()
        if not text:
            continue
        start_ms = min(max(round(float(word.start) * 1000), last_end_ms), duration_ms)
        end_ms = min(max(round(float(word.end) * 1000), start_ms), duration_ms)
        probability = min(max(float(word.probability), 0.0), 1.0)
        ordered.append(Word(text=text, start_ms=start_ms, end_ms=end_ms, probability=probability))
        last_end_ms = end_ms
    return tuple(ordered)
