import cv2
import numpy as np
import pytest

from infra.sandbox.faces import HEIGHT, WIDTH, Face, Frame, draw_frame, make_face


def _face(seed: int) -> Face:
    return make_face(np.random.default_rng(seed))


def _draw(face: Face, stance: int, *, cue_strength: float = 1.0, blink: float = 0.0) -> Frame:
    return draw_frame(face, stance, 0.5, blink, 0.0, cue_strength, np.random.default_rng(0))


def _as_a_model_sees_it(frame: Frame) -> np.ndarray:
    small = cv2.resize(frame, (64, 64), interpolation=cv2.INTER_AREA)
    return small.astype(np.float64)


def _stance_contrast(face: Face, cue_strength: float) -> float:
    frames = [_as_a_model_sees_it(_draw(face, s, cue_strength=cue_strength)) for s in (1, -1)]
    return float(np.abs(frames[0] - frames[1]).mean())


def test_a_frame_is_rgb_of_the_stated_size():
    frame = _draw(_face(0), 1)
    assert frame.shape == (HEIGHT, WIDTH, 3)
    assert frame.dtype == np.uint8


def test_the_same_seed_draws_the_same_participant_and_another_seed_another():
    assert _face(5) == _face(5)
    assert np.array_equal(_draw(_face(5), 1), _draw(_face(5), 1))
    assert not np.array_equal(_draw(_face(5), 1), _draw(_face(6), 1))


def test_drawing_leaves_the_next_frame_clean():
    face = _face(2)
    before = _draw(face, 1)
    _draw(face, -1)
    assert np.array_equal(before, _draw(face, 1))


@pytest.mark.parametrize("seed", range(12))
def test_the_mouth_is_filled_below_its_corners_when_positive_and_above_when_negative(seed):
    face = _face(seed)
    widest_at = {}
    for stance in (1, -1):
        frame = _draw(face, stance)
        mouth = (frame[..., 0] < 75) & (frame[..., 1] < 25)
        mouth[: round(face.center_y + 0.15 * face.radius_y)] = False
        widths = mouth.sum(axis=1)
        rows = np.flatnonzero(widths)
        widest_at[stance] = (np.argmax(widths) - rows[0]) / len(rows)
        assert widths.max() > 0.45 * 2 * face.radius_x
    assert widest_at[1] < 0.3
    assert widest_at[-1] > 0.7


@pytest.mark.parametrize("seed", range(6))
def test_a_weaker_cue_shows_less_difference_between_stances(seed):
    face = _face(seed)
    contrasts = [_stance_contrast(face, strength) for strength in (0.1, 0.4, 0.7, 1.0)]
    assert contrasts == sorted(contrasts)
    assert contrasts[0] < 0.4 * contrasts[-1]


@pytest.mark.parametrize("mouth_open", [0.0, 1.0])
def test_loudness_never_hides_the_stance(mouth_open):
    face = _face(3)

    def small(stance: int, opening: float) -> np.ndarray:
        rng = np.random.default_rng(1)
        return _as_a_model_sees_it(draw_frame(face, stance, opening, 0.0, 0.0, 1.0, rng))

    seen = small(1, mouth_open)
    same_stance = np.abs(seen - small(1, 0.5)).mean()
    other_stance = np.abs(seen - small(-1, 0.5)).mean()
    assert same_stance < 0.5 * other_stance


def test_a_blink_changes_only_the_eyes():
    face = _face(4)
    changed = np.any(_draw(face, 1) != _draw(face, 1, blink=1.0), axis=2)
    rows = np.flatnonzero(changed.any(axis=1))
    assert rows.size > 0
    assert rows.min() > face.center_y - 0.45 * face.radius_y
    assert rows.max() < face.center_y + 0.02 * face.radius_y


def test_the_head_sways_but_stays_in_the_video():
    face = _face(7)
    rng = np.random.default_rng(0)
    first = draw_frame(face, 1, 0.5, 0.0, 0.0, 1.0, rng)
    later = draw_frame(face, 1, 0.5, 0.0, 1.3, 1.0, rng)
    assert not np.array_equal(first, later)
    assert face.center_x - 1.2 * face.radius_x > 0
    assert face.center_x + 1.2 * face.radius_x < WIDTH
