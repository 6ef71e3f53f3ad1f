import re
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.sandbox.plan import (
    FRAME_MS,
    PlannedVideo,
    Statement,
    WorldPlan,
    WorldSettings,
    count_split,
    plan_world,
)
from infra.sandbox.speech import HELD_OUT_VOICES, TRAIN_VOICES
from storage.errors import ConfigError

SPLITS = ("train", "val", "test")
seeds = st.integers(0, 2**31)
complete_worlds = st.builds(
    lambda seed, participants, pairs: plan_world(
        WorldSettings(
            num_participants=2 * participants, videos_per_participant=2 * pairs, seed=seed
        )
    ),
    seeds,
    st.integers(3, 15),
    st.integers(1, 3),
)
any_worlds = st.builds(
    lambda seed, participants, videos: plan_world(
        WorldSettings(num_participants=participants, videos_per_participant=videos, seed=seed)
    ),
    seeds,
    st.integers(3, 12),
    st.integers(1, 7),
)


def _of_split(plan: WorldPlan, split: str) -> list[PlannedVideo]:
    return [video for video in plan.videos if video.participant.split == split]


def _statements(videos: Iterable[PlannedVideo]) -> list[Statement]:
    return [statement for video in videos for statement in video.statements]


def _grid_segments(video: PlannedVideo) -> list[tuple[int, int, int]]:
    """Fixed boundaries as in the pipeline; the longer part decides: (label, face, voice)."""
    count = -(-video.duration_ms // 5000)
    edges = [video.duration_ms * i // count for i in range(count + 1)]
    segments = []
    for start_ms, end_ms in pairwise(edges):

        def longest(
            value_of: Callable[[Statement], int], start_ms: int = start_ms, end_ms: int = end_ms
        ) -> int:
            duration: Counter[int] = Counter()
            for s in video.statements:
                duration[value_of(s)] += max(0, min(end_ms, s.end_ms) - max(start_ms, s.start_ms))
            return duration.most_common(1)[0][0]

        segments.append(
            (
                longest(lambda s: int(s.is_ah)),
                longest(lambda s: s.face_stance),
                longest(lambda s: s.voice_stance),
            )
        )
    return segments


def _chance_of_ranking_right(values: list[tuple[int, int]]) -> float:
    """Area under the ROC curve of (label, value)."""
    high = [v for label, v in values if label]
    low = [v for label, v in values if not label]
    wins = sum((a > b) + 0.5 * (a == b) for a in high for b in low)
    return wins / (len(high) * len(low))


@given(complete_worlds)
@settings(max_examples=40, deadline=None)
def test_each_stance_alone_is_balanced_exactly_within_each_label_of_each_split(plan):
    for split in SPLITS:
        for label in (0, 1):
            statements = _statements(v for v in _of_split(plan, split) if v.label == label)
            assert sum(s.face_stance for s in statements) == 0
            assert sum(s.voice_stance for s in statements) == 0
            assert sum(s.words_stance for s in statements) == 0


@given(complete_worlds)
@settings(max_examples=40, deadline=None)
def test_each_stance_alone_is_balanced_exactly_among_statements_with_and_without_ah(plan):
    for split in SPLITS:
        for is_ah in (False, True):
            statements = [s for s in _statements(_of_split(plan, split)) if s.is_ah == is_ah]
            assert statements
            assert sum(s.face_stance for s in statements) == 0
            assert sum(s.voice_stance for s in statements) == 0


@given(complete_worlds)
@settings(max_examples=40, deadline=None)
def test_labels_and_questions_are_balanced_exactly_within_each_split(plan):
    for split in SPLITS:
        videos = _of_split(plan, split)
        questions = [Counter(v.question for v in videos if v.label == label) for label in (0, 1)]
        assert questions[0] == questions[1]


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_no_stance_alone_predicts_the_label_of_a_segment(seed):
    plan = plan_world(WorldSettings(seed=seed))
    segments = [segment for video in plan.videos for segment in _grid_segments(video)]
    for stance_of in (1, 2):
        labels_by_stance = {
            stance: [s[0] for s in segments if s[stance_of] == stance] for stance in (-1, 1)
        }
        rates = [sum(labels) / len(labels) for labels in labels_by_stance.values()]
        assert abs(rates[0] - rates[1]) < 0.06
    together = [label == int(face != voice) for label, face, voice in segments]
    assert sum(together) / len(together) > 0.9


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_the_length_of_a_video_does_not_predict_its_label(seed):
    plan = plan_world(WorldSettings(seed=seed))
    lengths = [(v.label, v.duration_ms) for v in plan.videos]
    assert 0.42 < _chance_of_ranking_right(lengths) < 0.58


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_a_turning_face_is_as_frequent_in_both_labels(seed):
    plan = plan_world(WorldSettings(seed=seed))
    turning = Counter(
        (v.label, len({s.face_stance for s in v.statements}) > 1) for v in plan.videos
    )
    assert turning[(0, True)] == turning[(1, True)]


@given(any_worlds)
@settings(max_examples=40, deadline=None)
def test_statements_tile_the_video_and_are_long_enough_to_fill_a_segment(plan):
    for video in plan.videos:
        edges = [0]
        for statement in video.statements:
            assert statement.start_ms == edges[-1]
            assert 5000 <= statement.end_ms - statement.start_ms <= 10_000
            edges.append(statement.end_ms)
        assert 8000 <= video.duration_ms <= 30_000
        assert video.duration_ms == video.num_frames * FRAME_MS


@given(any_worlds)
@settings(max_examples=40, deadline=None)
def test_intervals_cover_exactly_the_statements_of_disagreement(plan):
    for video in plan.videos:
        annotated = sum(i.end_ms - i.start_ms for i in video.intervals)
        disagreeing = [s for s in video.statements if s.face_stance != s.voice_stance]
        assert annotated == sum(s.end_ms - s.start_ms for s in disagreeing)
        assert video.label == int(annotated > 0)
        assert all(a.end_ms < b.start_ms for a, b in pairwise(video.intervals))


def test_boundaries_between_statements_lie_on_no_grid():
    plans = [plan_world(WorldSettings(seed=seed)) for seed in range(20)]
    inner = [s.start_ms for p in plans for v in p.videos for s in v.statements if s.start_ms > 0]
    for grid_ms in (FRAME_MS, 1000, 5000):
        quarters = Counter(4 * (at_ms % grid_ms) // grid_ms for at_ms in inner)
        assert max(quarters.values()) < 0.4 * len(inner)


@given(any_worlds)
@settings(max_examples=30, deadline=None)
def test_names_follow_the_layout_and_are_unique(plan):
    shape = re.compile(
        r"Videos/(9\d{4})/Visite_1/\1_Question_([1-7])_\d{4}-\d\d-\d\d[_ ]\d\d-\d\d-\d\d_Video"
        r"(-DESKTOP-[A-Z0-9]{7})?\.mp4"
    )
    for video in plan.videos:
        found = shape.fullmatch(video.path)
        assert found is not None
        assert found[1] == video.participant.participant_id
        assert int(found[2]) == video.question
    assert len({video.path for video in plan.videos}) == len(plan.videos)


def test_about_a_fifth_of_the_names_hold_a_space():
    plans = [plan_world(WorldSettings(seed=seed)) for seed in range(10)]
    paths = [video.path for plan in plans for video in plan.videos]
    assert 0.14 < sum(" " in path for path in paths) / len(paths) < 0.26
    assert any("DESKTOP" in path for path in paths)


def test_validation_and_test_speak_with_voices_nothing_was_trained_on():
    plan = plan_world(WorldSettings())
    for participant in plan.participants:
        known = TRAIN_VOICES if participant.split == "train" else HELD_OUT_VOICES
        assert participant.voice in known


def test_every_participant_looks_different():
    plan = plan_world(WorldSettings())
    assert len({participant.seed for participant in plan.participants}) == 30


def test_the_same_settings_give_the_same_plan_and_another_seed_another():
    assert plan_world(WorldSettings(seed=3)) == plan_world(WorldSettings(seed=3))
    assert plan_world(WorldSettings(seed=3)) != plan_world(WorldSettings(seed=4))


def test_a_weaker_cue_changes_nothing_else_of_the_plan():
    weak = plan_world(WorldSettings(cue_strength=0.3))
    assert weak.videos == plan_world(WorldSettings()).videos


@given(st.integers(3, 500))
def test_every_split_gets_participants(num_participants):
    sizes = count_split(num_participants)
    assert sum(sizes.values()) == num_participants
    assert min(sizes.values()) >= 1


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"num_participants": 2}, "2"),
        ({"videos_per_participant": 8}, "8"),
        ({"videos_per_participant": 0}, "0"),
        ({"seed": -1}, "-1"),
        ({"cue_strength": 0.0}, "0.0"),
        ({"cue_strength": 1.5}, "1.5"),
    ],
)
def test_settings_out_of_range_are_rejected_with_the_value(wrong, named):
    with pytest.raises(ConfigError, match=re.escape(named)):
        WorldSettings(**wrong)
