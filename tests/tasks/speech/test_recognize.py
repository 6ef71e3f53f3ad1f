from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.sandbox.measure_speech import MODEL_PATH
from infra.sandbox.speech import HELD_OUT_VOICES, speak
from storage.errors import ConfigError
from tasks.speech.model import open_speech_model
from tasks.speech.recognize import Recognition, ordered_words, recognize

SENTENCE = "i am happy to go for a walk every morning"


class RawWord(NamedTuple):
    word: str
    start: float
    end: float
    probability: float


seconds = st.floats(-1, 20, allow_nan=False)
texts = st.sampled_from([" a", "b ", " "])
raw_word_lists = st.lists(st.builds(RawWord, texts, seconds, seconds, seconds))


@given(raw_word_lists, st.integers(0, 15_000))
def test_words_are_within_the_audio_and_never_overlap(
    raw_words: list[RawWord], duration_ms: int
) -> None:
    words = ordered_words(raw_words, duration_ms)
    assert [w.text for w in words] == [raw.word.strip() for raw in raw_words if raw.word.strip()]
    assert all(0 <= w.start_ms <= w.end_ms <= duration_ms for w in words)
    assert all(0 <= w.probability <= 1 for w in words)
    assert all(before.end_ms <= after.start_ms for before, after in pairwise(words))


def run_recognition(
    samples: np.ndarray, *, language: str | None = None, voice_filter: bool = True
) -> Recognition:
    return recognize(
        samples.astype(np.float32),
        open_speech_model(str(MODEL_PATH), "default"),
        language=language,
        voice_filter=voice_filter,
        voice_threshold=0.5,
        min_silence_ms=160,
        window_seconds=12,
        beam_size=5,
        predict_times=True,
    )


@pytest.mark.parametrize("voice_filter", [True, False])
def test_sentence_is_recognized_word_for_word_at_its_time(voice_filter: bool) -> None:
    spoken = speak(SENTENCE, HELD_OUT_VOICES[5], 1, np.random.default_rng(0))
    padded = np.pad(spoken.samples, 16_000)
    noise = np.random.default_rng(1).normal(0, 3e-4, len(padded))
    recognized = run_recognition(padded + noise, voice_filter=voice_filter)
    assert recognized.language == "en"
    assert " ".join(word.text for word in recognized.words) == SENTENCE
    recognized_ms = np.array([word.start_ms - 1000 for word in recognized.words])
    spoken_ms = np.array([word.start_ms for word in spoken.words])
    assert np.median(np.abs(recognized_ms - spoken_ms)) <= 80


@pytest.mark.parametrize("num_samples", [0, 10, 1600, 80_000])
def test_silence_of_any_length_has_no_words_and_no_language(num_samples: int) -> None:
    assert run_recognition(np.zeros(num_samples)) == Recognition(language=None, words=())


def test_noise_without_a_voice_has_no_words() -> None:
    assert run_recognition(np.random.default_rng(0).normal(0, 0.05, 64_000)).words == ()


def test_unsupported_language_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match=r"'transcribe\.language' is 'fr'"):
        run_recognition(np.zeros(64_000), language="fr")
