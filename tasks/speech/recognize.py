"""From a whole video's sound to words with times, by faster-whisper's batched pipeline."""

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
    """What was heard; ``language`` is ``None`` where nobody spoke."""

    language: str | None
    words: tuple[Word, ...]


NOTHING_HEARD = Recognition(language=None, words=())


def recognise(
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
    """Transcribe 16 kHz mono samples in [-1, 1); silence gives no words.

    Word times come from the decoder's attention (Whisper's alignment heads), to 20 ms.

    Raises:
        ConfigError: the model does not know the language.
        StageError: the machine failed while the model was running.
    """
    if len(samples) < _SHORTEST_SECONDS * AUDIO_SAMPLE_RATE:
        return NOTHING_HEARD
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
        silence = {"threshold": voice_threshold, "min_silence_duration_ms": min_silence_ms}
        options |= {"vad_filter": True, "vad_parameters": silence}
    else:
        options |= {"clip_timestamps": _even_windows(duration_ms, window_seconds)}
    found, spoken = _run(model, samples, options)
    words = in_order(found, duration_ms)
    return Recognition(language=spoken if words else None, words=words)


def _check_language(language: str | None, model: "WhisperModel") -> None:
    known = sorted(model.supported_languages)
    if language is not None and language not in known:
        raise ConfigError(
            f"Setting 'transcribe.language' is {language!r}, but the speech model knows "
            f"{', '.join(known)}: set one of these, or none to detect it."
        )


def _run(
    model: "WhisperModel", samples: npt.NDArray[np.float32], options: dict[str, Any]
) -> tuple[list[Any], str]:
    """Give faster-whisper's words and the language; a pipeline keeps state: one for each video."""
    from faster_whisper import BatchedInferencePipeline

    try:
        found, facts = BatchedInferencePipeline(model).transcribe(samples, **options)
        return [word for part in found for word in part.words or ()], facts.language
    except RuntimeError as error:  # CTranslate2: the sound is valid, so it is the machine
        raise StageError(
            f"The speech model stopped ({error}): free memory on the device, or choose a smaller "
            "model or another compute_type in the section [transcribe]."
        ) from error


def _even_windows(duration_ms: int, window_seconds: int) -> list[dict[str, float]]:
    """Without the voice filter the sound is taken in windows of equal length."""
    count = -(-duration_ms // (window_seconds * 1000))
    edges = [duration_ms * number / count / 1000 for number in range(count + 1)]
    return [{"start": a, "end": b} for a, b in pairwise(edges)]


def in_order(words: Iterable[Any], duration_ms: int) -> tuple[Word, ...]:
    """Round to milliseconds within ``[0, duration_ms]`` and let no word begin before the last ends.

    faster-whisper's words carry seconds, blanks and, at window edges, small overlaps.
    """
    ordered: list[Word] = []
    now = 0
    for word in words:
        text = word.word.strip()
        if not text:
            continue
        start_ms = min(max(round(float(word.start) * 1000), now), duration_ms)
        end_ms = min(max(round(float(word.end) * 1000), start_ms), duration_ms)
        probability = min(max(float(word.probability), 0.0), 1.0)
        ordered.append(Word(text=text, start_ms=start_ms, end_ms=end_ms, probability=probability))
        now = end_ms
    return tuple(ordered)
