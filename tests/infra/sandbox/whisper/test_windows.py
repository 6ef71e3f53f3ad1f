from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra.sandbox.speech import TRAIN_VOICES
from infra.sandbox.whisper.bank import Bank, read_bank, write_bank
from infra.sandbox.whisper.windows import MAX_SECONDS, draw_window


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Bank:
    folder: Path = tmp_path_factory.mktemp("bank")
    write_bank(folder, 6, 0, TRAIN_VOICES[::30])
    return read_bank(folder)


@given(seed=st.integers(0, 10_000), seconds=st.floats(1.2, 29))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_words_lie_in_order_inside_their_window(bank: Bank, seed: int, seconds: float) -> None:
    window = draw_window(bank, seconds, np.random.default_rng(seed))
    assert 0.45 < window.seconds <= MAX_SECONDS
    assert window.samples.dtype == np.float32
    assert np.isfinite(window.samples).all()
    words = [word for sentence in window.sentences for word in sentence]
    assert all(0 <= w.start_ms < w.end_ms <= window.seconds * 1000 + 1 for w in words)
    assert all(before.end_ms <= after.start_ms + 2 for before, after in pairwise(words))
    assert all(sentence for sentence in window.sentences)


def test_speech_is_loud_where_the_words_are_and_quiet_elsewhere(bank: Bank) -> None:
    inside, outside = [], []
    for seed in range(40):
        window = draw_window(bank, 8, np.random.default_rng(seed))
        spoken = np.zeros(len(window.samples), bool)
        for word in (word for sentence in window.sentences for word in sentence):
            spoken[word.start_ms * 16 : word.end_ms * 16] = True
        power = np.square(window.samples)
        inside.append(power[spoken].mean() if spoken.any() else 0)
        outside.append(power[~spoken].mean())
    assert np.mean(inside) > 20 * np.mean(outside)


def test_the_same_generator_state_draws_the_same_window(bank: Bank) -> None:
    one, two = (draw_window(bank, 6, np.random.default_rng(9)) for _ in range(2))
    np.testing.assert_array_equal(one.samples, two.samples)
    assert one.sentences == two.sentences


def test_some_windows_hold_no_speech(bank: Bank) -> None:
    windows = [draw_window(bank, 1.5, np.random.default_rng(seed)) for seed in range(300)]
    assert 0 < sum(not window.sentences for window in windows) < 60
