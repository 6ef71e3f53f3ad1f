import numpy as np
import pytest

from storage.records import AUDIO_SAMPLE_RATE
from tasks.media.audio.quality import clipped_samples, measure_audio
from tasks.media.audio.timeline import Chunk, Timeline

TIMES = np.arange(4 * AUDIO_SAMPLE_RATE) / AUDIO_SAMPLE_RATE


def measured(wave: np.ndarray, start: int = 0, end: int | None = None):
    samples = (wave * 32_767).astype(np.int16)
    end = len(samples) if end is None else end
    timeline = Timeline((Chunk(start=0, samples=samples),))
    return measure_audio(timeline, timeline.spans(), start, end)


@pytest.mark.parametrize("gain", [1.0, 0.1, 0.01])
def test_level_is_relative_to_full_scale(gain):
    quality = measured(gain * np.sin(2 * np.pi * 440 * TIMES))
    assert quality.rms_dbfs == pytest.approx(20 * np.log10(gain) - 3.01, abs=0.05)
    assert quality.silence_fraction == 0


def test_half_of_the_audio_is_silent():
    quality = measured(np.where(TIMES < 2, 0.1 * np.sin(2 * np.pi * 440 * TIMES), 0))
    assert quality.silence_fraction == pytest.approx(0.5, abs=0.01)


def test_silence_has_the_lowest_level():
    quality = measured(0 * TIMES)
    assert (quality.rms_dbfs, quality.silence_fraction, quality.clipped_fraction) == (-120, 1, 0)


def test_fraction_that_decoded_is_of_the_whole_span():
    quality = measured(0.1 * np.sin(2 * np.pi * 440 * TIMES), 0, 5 * AUDIO_SAMPLE_RATE)
    assert quality.decoded_fraction == pytest.approx(0.8)
    assert quality.rms_dbfs == pytest.approx(-23.0, abs=0.1)  # of what decoded
    after = measured(TIMES, 5 * AUDIO_SAMPLE_RATE, 6 * AUDIO_SAMPLE_RATE)
    assert (after.decoded_fraction, after.silence_fraction, after.rms_dbfs) == (0, 1, -120)


@pytest.mark.parametrize("gain", [3, 8])
def test_clipped_waves_are_found(gain):
    quality = measured(np.clip(gain * np.sin(2 * np.pi * 220 * TIMES), -1, 1))
    expected = 1 - 2 / np.pi * np.arcsin(1 / gain)
    assert quality.clipped_fraction == pytest.approx(expected, abs=0.05)


def test_single_peaks_at_full_scale_are_not_clipped():
    samples = np.zeros(1_000, np.int16)
    samples[::10] = 32_767
    assert not clipped_samples(samples).any()
    samples[500:503] = -32_768
    assert clipped_samples(samples).sum() == 3
