import numpy as np

from infra.sandbox.omni.material import (
    LATEST_CHANGE,
    LONGEST_MS,
    SHORTEST_MS,
    _leaning,
    draw_faces,
    draw_voices,
    draw_words,
    through_h264,
)
from infra.sandbox.sentences import WORDS
from infra.sandbox.speech import HELD_OUT_VOICES


def test_faces_are_balanced_and_as_long_as_segments() -> None:
    faces = list(draw_faces(6, 3, np.random.default_rng(0), all_strong=False))
    assert sum(face.is_positive for face in faces) == 3
    for face in faces:
        assert face.frames.shape[1:] == (336, 448, 3)
        assert SHORTEST_MS / 500 - 1 <= len(face.frames) <= LONGEST_MS / 500 + 1


def test_voices_are_windows_of_a_segment_s_length_balanced_by_stance() -> None:
    pieces = list(draw_voices(8, HELD_OUT_VOICES, np.random.default_rng(0), all_strong=True))
    assert sum(piece.is_positive for piece in pieces) == 4
    for piece in pieces:
        assert SHORTEST_MS - 1 <= piece.audio.size / 16 <= LONGEST_MS + 1
        assert np.abs(piece.audio).max() > 0.01


def test_the_same_seed_draws_the_same_voices() -> None:
    first, second = (
        list(draw_voices(4, HELD_OUT_VOICES, np.random.default_rng(5), all_strong=False))
        for _ in range(2)
    )
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.audio, other.audio)


def test_a_change_of_stance_leaves_the_longer_part_as_the_answer() -> None:
    rng = np.random.default_rng(0)
    fractions = [(_leaning(1, 100, rng) == 1).mean() for _ in range(200)]
    assert min(fractions) >= 1 - LATEST_CHANGE
    assert 0.6 < np.mean([value == 1 for value in fractions]) < 0.95


def test_words_always_contain_what_distinguishes_them() -> None:
    pieces = draw_words(40, np.random.default_rng(0))
    assert sum(piece.is_positive for piece in pieces) == 20
    assert all(word in WORDS for piece in pieces for word in piece.text.split())


def test_frames_come_out_of_h264_in_order_and_number() -> None:
    frames = [np.full((480, 640, 3), 20 * index, np.uint8) for index in range(7)]
    decoded = through_h264(frames)
    assert decoded.shape == (7, 336, 448, 3)
    np.testing.assert_allclose(decoded.mean(axis=(1, 2, 3)), 20 * np.arange(7), atol=3)
