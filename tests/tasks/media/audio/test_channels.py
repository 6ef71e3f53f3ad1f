import numpy as np
import pytest

from storage.records import AUDIO_SAMPLE_RATE
from tasks.media.audio.channels import Downmix, choose_downmix, measure_channels
from tasks.media.audio.timeline import Chunk

SECONDS = 8
RNG = np.random.default_rng(1)


def noise(gain: float = 0.1) -> np.ndarray:
    return gain * RNG.standard_normal(SECONDS * AUDIO_SAMPLE_RATE)


def chunks(left, right, size: int = 1_000, start: int = 0):
    samples = (np.stack([left, right], axis=1) * 32_767).clip(-32_768, 32_767).astype(np.int16)
    for at in range(0, len(samples), size):
        yield Chunk(start=start + at, samples=samples[at : at + size])


SPEECH, OTHER, QUIET = noise(), noise(), noise(0.000_3)
HALF = np.arange(len(SPEECH)) < len(SPEECH) // 2


@pytest.mark.parametrize(
    ("left", "right", "downmix"),
    [
        (SPEECH, SPEECH, Downmix()),
        (SPEECH, OTHER, Downmix()),
        (SPEECH, 0.2 * OTHER, Downmix()),
        (SPEECH, 0 * OTHER, Downmix(channel=0, dead_channel=True)),
        (QUIET, SPEECH, Downmix(channel=1, dead_channel=True)),
        (SPEECH, -SPEECH, Downmix(channel=0, antiphase=True)),
        (0.9 * SPEECH, -SPEECH + QUIET, Downmix(channel=1, antiphase=True)),
        (SPEECH, np.where(HALF, SPEECH, -SPEECH), Downmix(channel=0, antiphase=True)),
        (QUIET, -QUIET, Downmix()),
        (0 * SPEECH, 0 * SPEECH, Downmix()),
    ],
)
def test_one_channel_is_used_if_the_other_is_dead_or_cancels_it(left, right, downmix):
    chosen = choose_downmix(measure_channels(chunks(left, right)))
    assert (chosen.dead_channel, chosen.antiphase) == (downmix.dead_channel, downmix.antiphase)
    if downmix.dead_channel or abs(np.sum(left**2) - np.sum(right**2)) > 1e-3:
        assert chosen.channel == downmix.channel


def test_without_audio_there_is_nothing_to_choose():
    levels = measure_channels([])
    assert (len(levels.seconds), choose_downmix(levels)) == (0, Downmix())


@pytest.mark.parametrize("size", [100, 4_410, 40_000])
def test_energy_is_that_of_each_second_whatever_the_size_of_chunks(size):
    start = 10**13 + 500
    levels = measure_channels(chunks(SPEECH, OTHER, size, start))
    assert levels.seconds.tolist() == [start // AUDIO_SAMPLE_RATE + k for k in range(SECONDS + 1)]
    assert levels.num_samples.sum() == len(SPEECH)
    mix = (SPEECH + OTHER) / 2
    expected = [np.square(its).sum() for its in (SPEECH, OTHER, mix)]
    np.testing.assert_allclose(levels.energy.sum(axis=0), expected, rtol=0.01)
    second = AUDIO_SAMPLE_RATE - 500
    np.testing.assert_allclose(levels.energy[0, 0], np.square(SPEECH[:second]).sum(), rtol=0.01)


def test_clipping_in_one_channel_is_counted():
    levels = measure_channels(chunks(np.clip(30 * SPEECH, -1, 1), OTHER))
    assert levels.num_clipped.sum() > 0.3 * levels.num_samples.sum()
