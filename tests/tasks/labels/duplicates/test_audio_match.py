import numpy as np
import pytest

from tasks.labels.duplicates.audio_index import iter_candidates
from tasks.labels.duplicates.audio_match import AudioTrack, is_contained
from tasks.media.perceptual_hash import audio_words_of
from tests.tasks.labels.duplicates.recordings import (
    NO_FRAMES,
    RATE,
    Samples,
    a_hash,
    beeps,
    speech,
    tone,
)

VOICE = speech(20, seed=1)


def track(samples: Samples) -> AudioTrack:
    return AudioTrack(audio_words_of(a_hash("", NO_FRAMES, samples).audio))


def is_copy(one: Samples, other: Samples) -> bool:
    tracks = [track(one), track(other)]
    return any(is_contained(*tracks, candidate) for candidate in iter_candidates(
        [each.words for each in tracks]
    ))  # fmt: skip


@pytest.mark.parametrize(("common", "expected"), [(0.5, False), (0.7, False), (0.9, True)])
def test_nearly_all_of_the_shorter_recording_must_be_in_the_other(common, expected):
    count = round(common * 10 * RATE)
    mixed = np.concatenate([VOICE[5 * RATE : 5 * RATE + count], speech(10, 7)[count:]])
    assert is_copy(VOICE, mixed) is expected
    assert is_copy(mixed, VOICE) is expected


def test_seconds_in_another_order_are_no_copy():
    swapped = np.concatenate([VOICE[10 * RATE :], VOICE[: 10 * RATE]])
    assert not is_copy(VOICE, swapped)


@pytest.mark.parametrize(
    ("audio", "expected"),
    [
        (VOICE[: 8 * RATE], True),
        (VOICE[: 2 * RATE], False),
        (np.pad(VOICE[: 4 * RATE], (0, 12 * RATE)), False),
        (tone(8, 440), False),
        (np.zeros(0), False),
    ],
    ids=["speech", "2 s", "4 of 16 s", "tone", "nothing"],
)
def test_audio_is_evidence_if_enough_of_it_changes(audio, expected):
    assert track(audio).has_evidence is expected


def test_repeated_seconds_are_not_distinctive():
    assert track(VOICE).is_distinctive.all()
    assert not track(beeps(12, 0.8)).is_distinctive.any()
    loop = np.tile(VOICE[: 3 * RATE], 6)
    assert track(loop).is_distinctive.sum() <= 3
    assert not is_copy(loop, np.tile(VOICE[: 3 * RATE], 5))
