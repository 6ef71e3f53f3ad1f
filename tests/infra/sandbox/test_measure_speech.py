from pathlib import Path

import pytest

from infra.sandbox.espeak import SpokenWord
from infra.sandbox.measure_speech import (
    MAX_ERROR_RATE,
    MAX_START_ERROR_MS,
    MODEL_PATH,
    Errors,
    add,
    compare,
    held_out_videos,
    measure,
    sandbox_config,
)
from infra.sandbox.speech import HELD_OUT_VOICES
from storage.records import Word


def message(text: str) -> list[SpokenWord]:
    return [
        SpokenWord(text=name, start_ms=100 * i, end_ms=100 * i + 90)
        for i, name in enumerate(text.split())
    ]


def heard(text: str, late_ms: int = 0) -> list[Word]:
    return [
        Word(text=name, start_ms=100 * i + late_ms, end_ms=100 * i + 90, probability=1)
        for i, name in enumerate(text.split())
    ]


def test_only_words_heard_rightly_have_a_start_error() -> None:
    errors = compare(message("i will call now"), heard("i can call now", late_ms=30))
    assert errors == Errors(num_words=4, num_wrong=1, start_errors_ms=(30, 30, 30))
    assert errors.error_rate == 0.25


def test_missing_and_invented_words_are_wrong_words() -> None:
    assert compare(message("um maybe"), heard("maybe")).num_wrong == 1
    assert compare(message("maybe"), heard("um maybe yes")).num_wrong == 2


def test_nothing_heard_is_all_wrong_and_has_no_start_error() -> None:
    errors = compare(message("i will"), [])
    assert (errors.error_rate, errors.median_start_ms) == (1, float("inf"))
    assert compare([], heard("i will")).num_wrong == 2


def test_pooled_errors_count_every_word_alike() -> None:
    one = Errors(num_words=1, num_wrong=1, start_errors_ms=(10,))
    other = Errors(num_words=9, num_wrong=0, start_errors_ms=(20, 30))
    assert add([one, other]) == Errors(num_words=10, num_wrong=1, start_errors_ms=(10, 20, 30))
    assert add([one, other]).median_start_ms == 20


def test_every_held_out_voice_is_measured_once_before_any_a_second_time() -> None:
    videos = held_out_videos(40, seed=3)
    voices = [video.participant.voice for video in videos]
    assert len(videos) == 40
    assert set(voices[:20]) == set(voices[20:]) == set(HELD_OUT_VOICES)


@pytest.mark.slow
def test_the_shipped_model_hears_a_soundtrack_within_the_targets(tmp_path: Path) -> None:
    (errors,) = measure(held_out_videos(1, seed=1), 1.0, sandbox_config(str(MODEL_PATH)), tmp_path)
    assert errors.num_words > 10
    assert errors.error_rate <= MAX_ERROR_RATE
    assert errors.median_start_ms <= MAX_START_ERROR_MS
