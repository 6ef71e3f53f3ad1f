import numpy as np
import pytest

from tasks.labels.duplicates.motion_match import (
    Course,
    course_of,
    has_same_course,
    iter_part_candidates,
    iter_whole_candidates,
)
from tasks.media.perceptual_hash import motion_hash
from tests.tasks.labels.duplicates.recordings import motion

MOVES = motion(24, 1)


def course(frames: np.ndarray) -> Course:
    return course_of(motion_hash(frames))


OTHERS = [course(motion(24, seed)) for seed in range(2, 8)]


def at_speed(speed: float) -> Course:
    return course(MOVES[np.round(np.arange(0, len(MOVES) - 1, speed)).astype(int)])


@pytest.mark.parametrize("speed", [0.9, 0.95, 1.0, 1.05, 1.1])
def test_a_copy_at_another_speed_is_found_among_all_pairs(speed):
    courses = [course(MOVES), *OTHERS, at_speed(speed)]
    last = len(courses) - 1
    assert (0, last) in set(iter_whole_candidates(courses))
    assert has_same_course(courses[0], courses[last])


@pytest.mark.parametrize("start", [0, 37, 150])
def test_a_part_is_found_if_one_of_the_two_is_searched_for(start):
    courses = [course(MOVES), *OTHERS, course(MOVES[start : start + 220])]
    last = len(courses) - 1
    assert (last, 0) in set(iter_part_candidates(courses, [last]))
    assert (last, 0) in set(iter_part_candidates(courses, [0]))
    assert (last, 0) not in set(iter_part_candidates(courses, [1, 2]))
    assert has_same_course(courses[0], courses[last])


def test_other_motion_is_not_the_same():
    assert not any(has_same_course(course(MOVES), other) for other in OTHERS)
    assert not any(has_same_course(OTHERS[0], other) for other in OTHERS[1:])


def test_one_swaying_at_the_same_frequency_is_not_the_same():
    time = np.arange(24 * 8) / 8
    sway = 20 + 8 * np.sin(2 * np.pi * 0.4 * time)
    random = np.random.default_rng(0)
    one, other = (sway + 3 * random.normal(size=len(time)) for _ in range(2))
    courses = [course_of(np.round(levels).astype(np.uint8)) for levels in (one, other)]
    assert np.corrcoef(courses[0].levels, courses[1].levels)[0, 1] > 0.7
    assert not has_same_course(*courses)


@pytest.mark.parametrize("seconds", [0, 0.5, 2, 7])
def test_short_motion_is_no_evidence(seconds):
    short = course(MOVES[: round(16 * seconds)])
    assert not short.has_evidence
    assert list(iter_whole_candidates([short, short])) == []
    assert list(iter_part_candidates([short, course(MOVES)], [0, 1])) == []
