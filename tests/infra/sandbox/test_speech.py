import numpy as np
import pytest
from numpy.typing import NDArray

from infra.sandbox.speech import (
    HELD_OUT_VOICES,
    TRAIN_VOICES,
    Stance,
    Voice,
    draw_prosody,
    speak,
)
from storage.records import AUDIO_SAMPLE_RATE

TEXT = "i am sure i will go for a walk every morning"


def median_f0(samples: NDArray[np.float32]) -> float:
    """Median over voiced 50 ms frames of the autocorrelation's first strong peak, 50-500 Hz."""
    width, peaks = AUDIO_SAMPLE_RATE // 20, []
    window = np.hanning(width)
    taper = np.fft.irfft(np.abs(np.fft.rfft(window, 4 * width)) ** 2)[:width]
    for start in range(0, len(samples) - width, width // 2):
        frame = samples[start : start + width]
        if np.sqrt(np.mean(frame**2)) < 0.02:
            continue
        spectrum = np.fft.rfft((frame - frame.mean()) * window, 4 * width)
        lags = np.fft.irfft(np.abs(spectrum) ** 2)[:width]
        lags = lags / lags[0] / (taper / taper[0] + 1e-6)
        inner = lags[AUDIO_SAMPLE_RATE // 500 : AUDIO_SAMPLE_RATE // 50]
        if inner.max() > 0.6:
            first = int(np.flatnonzero(inner > 0.9 * inner.max())[0])
            crest = first + int(np.argmax(inner[first : first + 8]))
            peaks.append(AUDIO_SAMPLE_RATE / (AUDIO_SAMPLE_RATE // 500 + crest))
    return float(np.median(peaks))


def test_held_out_voices_have_no_variant_of_the_training_voices() -> None:
    variants = [{v.name.split("+")[1] for v in group} for group in (TRAIN_VOICES, HELD_OUT_VOICES)]
    assert not variants[0] & variants[1]
    assert len({v.name for v in (*TRAIN_VOICES, *HELD_OUT_VOICES)}) == 85


@pytest.mark.parametrize("voice", TRAIN_VOICES[::5] + HELD_OUT_VOICES[1::5], ids=lambda v: v.name)
def test_the_stance_moves_every_voice_into_one_band_of_pitch(voice: Voice) -> None:
    rng = np.random.default_rng(1)
    assert 80 <= median_f0(speak(TEXT, voice, -1, rng).samples) <= 130
    assert 180 <= median_f0(speak(TEXT, voice, 1, rng).samples) <= 260


def test_the_same_generator_state_gives_the_same_samples_whatever_was_spoken_before() -> None:
    voice = TRAIN_VOICES[0]
    first = speak(TEXT, voice, 1, np.random.default_rng(3), 0.5)
    speak("yes", HELD_OUT_VOICES[0], -1, np.random.default_rng(4))
    again = speak(TEXT, voice, 1, np.random.default_rng(3), 0.5)
    np.testing.assert_array_equal(first.samples, again.samples)
    assert first.words == again.words


@pytest.mark.parametrize("stance", [-1, 1])
def test_a_weak_cue_lies_between_the_two_full_stances(stance: Stance) -> None:
    voice, rng = TRAIN_VOICES[0], np.random.default_rng(0)
    weak = draw_prosody(voice, stance, rng, 0.3)
    assert voice.negative_pitch < weak.pitch < voice.positive_pitch
    assert 10 < weak.pitch_range < 85


def test_the_stance_does_not_change_how_fast_the_voice_speaks() -> None:
    def paces(stance: Stance) -> list[tuple[int, int]]:
        rng = np.random.default_rng(5)
        prosodies = [draw_prosody(TRAIN_VOICES[0], stance, rng) for _ in range(50)]
        return [(prosody.rate, prosody.word_gap) for prosody in prosodies]

    assert paces(1) == paces(-1)


@pytest.mark.parametrize("strength", [0.0, -0.5, 1.01, float("nan")])
def test_an_impossible_cue_strength_is_rejected(strength: float) -> None:
    with pytest.raises(ValueError, match="cue_strength"):
        draw_prosody(TRAIN_VOICES[0], 1, np.random.default_rng(0), strength)
