import numpy as np
import numpy.typing as npt
import pytest

from storage.records import AUDIO_SAMPLE_RATE
from tasks.media.perceptual_hash import (
    AUDIO_HASH_RATE,
    NUM_AUDIO_BITS,
    SILENT,
    VIDEO_HASH_RATE,
    audio_hash,
    hashes_of,
    video_hash,
)

RATE = AUDIO_SAMPLE_RATE


def speech(seconds: float, seed: int) -> npt.NDArray[np.float64]:
    """Return syllables of changing pitch and timbre, with pauses between them."""
    random = np.random.default_rng(seed)
    samples = random.normal(0, 3, round(seconds * RATE))
    for start in np.arange(0, seconds - 0.2, 0.2):
        if random.random() < 0.8:
            time = np.arange(round(0.2 * RATE)) / RATE
            pitch = random.uniform(90, 220) * (1 + random.normal(0, 0.3) * time)
            weights = random.exponential(1, 20)
            tones = [w * np.sin(2 * np.pi * n * pitch * time) for n, w in enumerate(weights, 1)]
            at = round(start * RATE)
            samples[at : at + len(time)] += 300 * np.hanning(len(time)) * np.sum(tones, axis=0)
    return samples


def as_samples(samples: npt.NDArray[np.float64]) -> npt.NDArray[np.int16]:
    return np.clip(samples, -32_768, 32_767).astype(np.int16)


def fraction_of_differing_bits(one: npt.NDArray[np.int64], other: npt.NDArray[np.int64]) -> float:
    length = min(len(one), len(other))
    audible = (one[:length] != SILENT) & (other[:length] != SILENT)
    apart = np.bitwise_count(one[:length] ^ other[:length])[audible]
    return float(apart.mean()) / NUM_AUDIO_BITS


@pytest.fixture(scope="module")
def voice() -> npt.NDArray[np.float64]:
    return speech(8, seed=1)


def test_video_bit_is_set_for_a_pixel_clearly_brighter_than_its_right_neighbor():
    gray = np.full((2, 8, 9), 100, np.uint8)
    assert video_hash(gray).tolist() == [0, 0]
    gray[0, 7, 8] = 90  # the last pair of the last row
    gray[1, 0, 1] = 97  # a difference of 3 is noise, and so is any increase
    assert video_hash(gray).tolist() == [1, 0]
    gray[1, 0, 1] = 96
    assert video_hash(gray).tolist() == [1, -(2**63)]


def test_brighter_video_has_the_same_hash():
    gray = np.random.default_rng(0).integers(0, 120, (40, 8, 9)).astype(np.uint8)
    assert video_hash(gray + 100).tolist() == video_hash(gray).tolist()


@pytest.mark.parametrize("dark", [0, 16])
def test_black_frames_hash_to_zero(dark):
    noise = np.random.default_rng(0).integers(0, 3, (40, 8, 9))
    assert not video_hash((dark + noise).astype(np.uint8)).any()


def test_words_have_the_documented_rates(voice):
    hashes = hashes_of(np.zeros((8 * VIDEO_HASH_RATE, 8, 9), np.uint8), as_samples(voice))
    assert len(hashes.video) == 8 * VIDEO_HASH_RATE
    assert 8 * AUDIO_HASH_RATE - 8 <= len(hashes.audio) <= 8 * AUDIO_HASH_RATE
    assert all(word == SILENT or 0 <= word < 2**NUM_AUDIO_BITS for word in hashes.audio)


def test_volume_does_not_change_the_hash(voice):
    loud, quiet = audio_hash(as_samples(4 * voice)), audio_hash(as_samples(0.1 * voice))
    assert fraction_of_differing_bits(loud, quiet) < 0.05


def test_noise_and_a_shift_of_half_a_word_change_few_bits_but_another_voice_changes_half(voice):
    clean = audio_hash(as_samples(voice))
    hiss = np.random.default_rng(2).normal(0, 20, len(voice))
    shifted = voice[RATE // AUDIO_HASH_RATE // 2 :]
    other = audio_hash(as_samples(speech(8, seed=3)))
    assert fraction_of_differing_bits(clean, audio_hash(as_samples(voice + hiss))) < 0.15
    assert fraction_of_differing_bits(clean, audio_hash(as_samples(shifted))) < 0.25
    assert 0.4 < fraction_of_differing_bits(clean, other) < 0.6


def test_pauses_are_silent_and_speech_is_not(voice):
    words = audio_hash(as_samples(np.concatenate([voice, np.zeros(4 * RATE)])))
    assert (words[-3 * AUDIO_HASH_RATE :] == SILENT).all()
    assert (words[: 7 * AUDIO_HASH_RATE] != SILENT).mean() > 0.8


@pytest.mark.parametrize(
    "audio",
    [
        np.zeros(5 * RATE),
        np.random.default_rng(0).integers(-1, 2, 5 * RATE).astype(float),  # dither
        np.random.default_rng(0).normal(0, 500, 5 * RATE),  # hiss
        3_000 * np.sin(np.arange(5 * RATE) * 2 * np.pi * 50 / RATE),  # hum
    ],
    ids=["nothing", "dither", "hiss", "hum"],
)
def test_audio_that_never_changes_is_silent(audio):
    words = audio_hash(as_samples(audio))
    assert len(words) > 4 * AUDIO_HASH_RATE
    assert (words == SILENT).all()


@pytest.mark.parametrize("num_samples", [0, 1, 5_999, 6_000, 7_999])
def test_audio_too_short_for_a_word_has_none(num_samples):
    assert audio_hash(np.ones(num_samples, np.int16)).tolist() == []
