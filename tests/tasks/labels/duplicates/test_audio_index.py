import numpy as np
import pytest

from tasks.labels.duplicates.audio_index import iter_candidates
from tasks.media.perceptual_hash import AUDIO_HASH_RATE, Words, audio_words_of
from tests.tasks.labels.duplicates.recordings import NO_FRAMES, RATE, Samples, a_hash, speech

VOICE = speech(12, seed=1)


def words(samples: Samples) -> Words:
    return audio_words_of(a_hash("", NO_FRAMES, samples).audio)


def candidates(*tracks: Words) -> list[tuple[int, int]]:
    return [(found.one, found.other) for found in iter_candidates(tracks)]


@pytest.mark.parametrize("start", [0, 0.013, 3.31, 6.002])
def test_a_part_and_its_whole_are_candidates_at_the_offset_of_the_part(start):
    part = words(VOICE[round(start * RATE) :][: 5 * RATE])
    (candidate,) = iter_candidates([words(VOICE), words(speech(12, 2)), part])
    assert (candidate.one, candidate.other) == (0, 2)
    offsets = candidate.one_times - candidate.other_times
    assert np.median(offsets) == pytest.approx(start * AUDIO_HASH_RATE, abs=2)


def test_different_recordings_are_hardly_ever_candidates():
    assert len(candidates(*[words(speech(12, seed)) for seed in range(10, 22)])) <= 2


@pytest.mark.parametrize("tracks", [[], [words(VOICE)], [words(VOICE), words(np.zeros(0))]])
def test_fewer_than_two_tracks_with_audio_have_no_candidates(tracks):
    assert candidates(*tracks) == []
