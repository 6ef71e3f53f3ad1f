import numpy as np
import numpy.typing as npt
import pytest

from tasks.media.perceptual_hash import (
    AUDIO_HASH_RATE,
    MOTION_HASH_RATE,
    NUM_AUDIO_BITS,
    VIDEO_HASH_RATE,
    VIDEO_HASH_SIZE,
    Words,
    audio_hash,
    audio_words_of,
    hashes_of,
    motion_hash,
    motion_levels_of,
    packed,
)
from tests.tasks.labels.duplicates.recordings import RATE, beeps, motion, speech, tone

HALF = np.uint64(NUM_AUDIO_BITS)


def as_samples(samples: npt.NDArray[np.float64]) -> npt.NDArray[np.int16]:
    return np.clip(samples, -32_768, 32_767).astype(np.int16)


def fraction_of_active_bits(words: Words) -> float:
    return float(np.bitwise_count(words >> HALF).mean()) / NUM_AUDIO_BITS


def fraction_of_differing_bits(one: Words, other: Words) -> float:
    length = min(len(one), len(other))
    one, other = one[:length], other[:length]
    active = (one & other) >> HALF
    differing = np.bitwise_count((one ^ other) & active).sum()
    return float(differing / np.bitwise_count(active).sum())


@pytest.fixture(scope="module")
def voice() -> npt.NDArray[np.float64]:
    return speech(8, seed=1)


def test_words_and_levels_have_the_documented_rates(voice):
    hashes = hashes_of(motion(8, 1), as_samples(voice))
    assert 8 * MOTION_HASH_RATE - 6 <= len(motion_levels_of(hashes.motion)) <= 8 * MOTION_HASH_RATE
    words = audio_words_of(hashes.audio)
    assert 8 * AUDIO_HASH_RATE - 16 <= len(words) <= 8 * AUDIO_HASH_RATE
    assert (words == audio_hash(as_samples(voice))).all()


def test_bits_are_packed_from_the_lowest_band_up():
    bits = np.zeros((2, 32), bool)
    bits[0, [0, 5]] = bits[1, 31] = True
    assert packed(bits).tolist() == [33, 2**31]


def test_a_bit_is_set_where_the_lower_band_gains_on_the_upper_one():
    rising = np.concatenate([tone(1, 400), 3 * tone(1, 2_000)])
    words = audio_hash(as_samples(rising))
    change = words[np.bitwise_count(words >> HALF).argmax()]
    active, bits = int(change >> HALF), int(change) & (2**32 - 1)
    low, high = active & 0xFF, active >> 24
    assert low
    assert high
    edges = np.geomspace(300, 3_000, 34)
    at_400, at_2000 = (int(np.searchsorted(edges, hertz)) - 1 for hertz in (400, 2_000))
    assert not bits >> at_400 & 1  # the band of 400 Hz loses
    assert bits >> at_2000 & 1


def test_volume_does_not_change_the_hash(voice):
    loud, quiet = audio_hash(as_samples(4 * voice)), audio_hash(as_samples(0.1 * voice))
    assert fraction_of_differing_bits(loud, quiet) < 0.02


def test_noise_and_a_shift_of_half_a_word_change_few_bits_but_another_voice_changes_half(voice):
    clean = audio_hash(as_samples(voice))
    hiss = np.random.default_rng(2).normal(0, 20, len(voice))
    shifted = voice[RATE // AUDIO_HASH_RATE // 2 :]
    other = audio_hash(as_samples(speech(8, seed=3)))
    assert fraction_of_differing_bits(clean, audio_hash(as_samples(voice + hiss))) < 0.05
    assert fraction_of_differing_bits(clean, audio_hash(as_samples(shifted))) < 0.05
    assert 0.4 < fraction_of_differing_bits(clean, other) < 0.6


def test_pauses_have_no_active_bits_and_speech_has(voice):
    words = audio_hash(as_samples(np.concatenate([voice, np.zeros(4 * RATE)])))
    assert not (words[-3 * AUDIO_HASH_RATE :] >> HALF).any()
    assert fraction_of_active_bits(words[: 7 * AUDIO_HASH_RATE]) > 0.3


@pytest.mark.parametrize(
    "audio",
    [
        np.zeros(5 * RATE),
        np.random.default_rng(0).integers(-1, 2, 5 * RATE).astype(float),
        np.random.default_rng(0).normal(0, 500, 5 * RATE),
        tone(5, 50),
        tone(5, 440),
        tone(5, 440) * np.linspace(0.1, 1, 5 * RATE),
    ],
    ids=["nothing", "dither", "hiss", "hum", "tone", "swelling tone"],
)
def test_audio_whose_spectrum_never_changes_has_no_active_bit(audio):
    words = audio_hash(as_samples(audio))
    assert len(words) > 4 * AUDIO_HASH_RATE
    assert not (words >> HALF).any()


def test_beeps_have_active_bits_only_where_they_start_and_end():
    words = audio_hash(as_samples(beeps(8, 4.0)))
    assert 0 < (words >> HALF != 0).mean() < 0.35


@pytest.mark.parametrize("num_samples", [0, 1, 5_999, 6_000, 7_999])
def test_audio_too_short_for_a_word_has_none(num_samples):
    assert audio_hash(np.ones(num_samples, np.int16)).tolist() == []


def test_levels_of_motion_are_the_root_of_the_mean_change():
    gray = np.full((2 * VIDEO_HASH_RATE, *reversed(VIDEO_HASH_SIZE)), 100, np.uint8)
    gray[VIDEO_HASH_RATE:, :16] = 118  # half of the pixels change by 18 at one second
    levels = motion_hash(gray)
    assert levels.max() == 16 * 3
    assert levels[0] == levels[-1] == 0
    gray[VIDEO_HASH_RATE:, :16] = 102  # less than noise
    assert not motion_hash(gray).any()


def test_long_videos_are_hashed_like_short_ones():
    frames = motion(30, 1)
    long = np.concatenate([frames] * 4)
    assert (motion_hash(long)[: 30 * 8 - 6] == motion_hash(frames)[: 30 * 8 - 6]).all()
    assert len(motion_hash(long)) > 4 * 30 * 8 - 8


def test_mirrored_and_rotated_frames_have_the_same_levels():
    frames = motion(6, 2)
    levels = motion_hash(frames).tolist()
    assert motion_hash(frames[:, :, ::-1]).tolist() == levels
    assert motion_hash(np.rot90(frames, axes=(1, 2))).tolist() == levels


@pytest.mark.parametrize("num_frames", [0, 1, 8, 11])
def test_few_frames_have_no_level(num_frames):
    gray = np.zeros((num_frames, *reversed(VIDEO_HASH_SIZE)), np.uint8)
    assert motion_hash(gray).tolist() == []
