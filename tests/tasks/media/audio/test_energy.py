import numpy as np
import pytest

from storage.errors import ItemFault
from tasks.media.audio.energy import check_energy
from tasks.media.audio.segments import write_segments
from tasks.media.audio.timeline import Chunk
from tasks.media.audio.wav import read_audio, write_audio
from tasks.media.plan import plan_segments

S = 16_000
PLAN = plan_segments([k / 10 for k in range(95)], 9.5, 5_000)


def written(audio, folder):
    return write_segments(PLAN, audio, folder)


def test_audio_that_was_written_as_it_was_decoded_passes(decoded_audio, tmp_path):
    for spans in ([(0, 10 * S)], [(0, 3 * S + 800), (5 * S, 9 * S)], [(-S, 2 * S)], []):
        audio = decoded_audio(*spans)
        check_energy(audio, PLAN, written(audio, tmp_path), tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda samples: np.where(np.arange(len(samples)) < 2 * S, samples, 0),
        lambda samples: samples // 3,
        lambda samples: np.clip(samples.astype(int) * 4, -32_768, 32_767),
        lambda samples: np.concatenate([samples[-30_000:] * 0, samples])[: len(samples)],
    ],
    ids=["silence", "quieter", "louder", "late"],
)
def test_written_audio_of_other_energy_is_rejected(decoded_audio, tmp_path, damage):
    audio = decoded_audio((0, 10 * S))
    segments = written(audio, tmp_path)
    path = tmp_path / "0001.wav"
    write_audio(path, damage(read_audio(path)).astype(np.int16))
    with pytest.raises(ItemFault, match=r"the written audio is not the source's: in \d of 9 s"):
        check_energy(audio, PLAN, segments, tmp_path)


def test_source_that_goes_on_where_the_timeline_is_silent_is_rejected(decoded_audio, tmp_path):
    rng = np.random.default_rng(2)
    whole = Chunk(start=0, samples=rng.integers(-9_000, 9_000, 10 * S).astype(np.int16))
    audio = decoded_audio((0, 4 * S), levels_of=[whole], present=[(0, 10 * S)])
    with pytest.raises(ItemFault, match="first at 4 s"):
        check_energy(audio, PLAN, written(audio, tmp_path), tmp_path)


def test_seconds_without_a_file_are_not_compared(decoded_audio, tmp_path):
    audio = decoded_audio((0, 5 * S))
    segments = written(audio, tmp_path)
    assert [its.is_written for its in segments] == [True, False]
    check_energy(audio, PLAN, segments, tmp_path)
