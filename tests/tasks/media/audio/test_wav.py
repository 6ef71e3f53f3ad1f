import numpy as np

from tasks.media.audio.wav import read_audio, write_audio


def test_written_audio_is_read_back(tmp_path):
    samples = np.array([0, 1, -1, 32_767, -32_768], np.int16)
    write_audio(tmp_path / "a.wav", samples)
    assert np.array_equal(read_audio(tmp_path / "a.wav"), samples)
    assert len(read_audio(tmp_path / "missing.wav")) == 0
