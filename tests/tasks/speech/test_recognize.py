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
from tasks.speech.recognize import Recognition, in_order, recognise

MESSAGE = "i am happy to go for a walk every morning"


class Heard(NamedTuple):
    word: str
    start: float
    end: float
    probability: float


seconds = st.floats(-1, 20, allow_nan=False)
texts = st.sampled_from([" a", "b ", " "])
heard_words = st.lists(st.builds(Heard, texts, seconds, seconds, seconds))


@given(heard_words, st.integers(0, 15_000))
def test_words_lie_within_the_audio_and_never_begin_before_the_last_one_ends(
    heard: list[Heard], duration_ms: int
) -> None:
    words = in_order(heard, duration_ms)
    assert [w.text for w in words] == [h.word.strip() for h in heard if h.word.strip()]
    assert all(0 <= w.start_ms <= w.end_ms <= duration_ms for w in words)
    assert all(0 <= w.probability <= 1 for w in words)
    assert all(before.end_ms <= after.start_ms for before, after in pairwise(words))


def hear(
    samples: np.ndarray, *, language: str | None = None, voice_filter: bool = True
) -> Recognition:
    return recognise(
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
def test_a_sentence_is_heard_word_for_word_at_its_time(voice_filter: bool) -> None:
    spoken = speak(MESSAGE, HELD_OUT_VOICES[5], 1, np.random.default_rng(0))
    padded = np.pad(spoken.samples, 16_000)
    noise = np.random.default_rng(1).normal(0, 3e-4, len(padded))
    heard = hear(padded + noise, voice_filter=voice_filter)
    assert heard.language == "en"
    assert " ".join(word.text for word in heard.words) == MESSAGE
    heard_ms = np.array([word.start_ms - 1000 for word in heard.words])
    spoken_ms = np.array([word.start_ms for word in spoken.words])
    assert np.median(np.abs(heard_ms - spoken_ms)) <= 80


@pytest.mark.parametrize("num_samples", [0, 10, 1600, 80_000])
def test_silence_of_any_length_gives_no_words_and_no_language(num_samples: int) -> None:
    assert hear(np.zeros(num_samples)) == Recognition(language=None, words=())


def test_noise_without_a_voice_gives_no_words() -> None:
    assert hear(np.random.default_rng(0).normal(0, 0.05, 64_000)).words == ()


def test_a_language_that_the_model_does_not_know_is_a_setting_at_fault() -> None:
    with pytest.raises(ConfigError, match=r"'transcribe\.language' is 'fr'"):
        hear(np.zeros(64_000), language="fr")
