from collections import Counter, defaultdict
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from storage.errors import ConfigError
from storage.records import SPLITS, Interval, VideoId, VideoRecord
from tasks.labels.split_assignment import SplitRule, assign_sides, side_by_hash
from tests.builders import a_video

DRAWS = ("hash", "stratified", "folds")
SHARES = (0.7, 0.1, 0.2)


def owned_video(
    name: str, participant: str | None, label: int | None = 0, split: str | None = None
) -> VideoRecord:
    return a_video(name, participant_id=participant, label=label, split=split)


@st.composite
def data_sets(draw: st.DrawFn, min_people: int = 3) -> list[VideoRecord]:
    """People with one to eight labelled videos each."""
    people = draw(
        st.lists(
            st.lists(st.integers(0, 1), min_size=1, max_size=8), min_size=min_people, max_size=25
        )
    )
    return [
        owned_video(f"{person}/{number}", f"p{person}", label)
        for person, labels in enumerate(people)
        for number, label in enumerate(labels)
    ]


def like_bah(num_people: int) -> list[VideoRecord]:
    """About five videos a person, of whom some never and some nearly always show A/H."""
    return [
        owned_video(
            f"{person}/{number}", f"p{person}", int((person * 7 + number * 5) % 11 < person % 9)
        )
        for person in range(num_people)
        for number in range(3 + person % 5)
    ]


def people_of(videos: list[VideoRecord], sides: dict[VideoId, str | None]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for video in videos:
        found[video.participant_id].add(sides[video.video_id])
    return found


@given(data_sets(), st.sampled_from(DRAWS), st.integers(0, 9), st.randoms(use_true_random=False))
def test_a_participant_stands_on_one_side_whatever_the_order_and_every_time_the_same(
    videos, draw, seed, dice
):
    rule = SplitRule(split_by=draw, split_seed=seed, folds=3)
    sides = assign_sides(videos, rule)
    assert all(len(found) == 1 for found in people_of(videos, sides).values())
    assert set(sides.values()) <= set(SPLITS)
    assert assign_sides(dice.sample(videos, len(videos)), rule) == sides


@given(data_sets(min_people=6), st.integers(3, 6), st.integers(0, 9))
def test_over_all_folds_everybody_is_tested_once_validates_once_and_trains_otherwise(
    videos, folds, seed
):
    roles: dict[str, list[str]] = defaultdict(list)
    for fold in range(folds):
        rule = SplitRule(split_by="folds", folds=folds, fold=fold, split_seed=seed)
        for person, found in people_of(videos, assign_sides(videos, rule)).items():
            roles[person].extend(found)
    expected = Counter(test=1, val=1, train=folds - 2)
    assert all(Counter(found) == expected for found in roles.values())


@pytest.mark.parametrize("shares", [SHARES, (0.5, 0.25, 0.25), (0.8, 0.1, 0.1)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_stratified_draw_meets_the_asked_share_of_each_label(shares, seed):
    videos = like_bah(200)
    sides = assign_sides(
        videos, SplitRule(split_by="stratified", split_fractions=shares, split_seed=seed)
    )
    for label in (0, 1):
        of_label = [sides[video.video_id] for video in videos if video.label == label]
        found = Counter(of_label)
        for split, share in zip(SPLITS, shares, strict=True):
            assert found[split] / len(of_label) == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize("seed", [0, 1])
def test_folds_hold_equally_many_videos_of_each_label(seed):
    videos = like_bah(100)
    for label in (0, 1):
        of_label = [video.video_id for video in videos if video.label == label]
        for fold in range(5):
            rule = SplitRule(split_by="folds", fold=fold, split_seed=seed)
            sides = assign_sides(videos, rule)
            tested = sum(sides[name] == "test" for name in of_label)
            assert tested / len(of_label) == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize("draw", DRAWS)
def test_another_seed_draws_another_split(draw):
    videos = like_bah(60)
    drawn = [assign_sides(videos, SplitRule(split_by=draw, split_seed=seed)) for seed in (0, 1)]
    assert drawn[0] != drawn[1]


@given(data_sets(), st.integers(0, 5), st.integers(0, 30))
def test_by_hash_an_added_video_moves_no_other(videos, seed, person):
    rule = SplitRule(split_by="hash", split_seed=seed)
    before = assign_sides(videos, rule)
    after = assign_sides([*videos, owned_video("added", f"p{person}")], rule)
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize("draw", DRAWS)
def test_a_draw_asked_for_takes_the_place_of_the_data_sets_split(draw):
    videos = like_bah(30)
    listed = [replace(video, split="test") for video in videos]
    rule = SplitRule(split_by=draw)
    assert assign_sides(listed, rule) == assign_sides(videos, rule)


def test_the_data_sets_own_split_is_kept_by_default_for_unlabelled_videos_too():
    videos = [
        owned_video(f"v{n}", "ann", label, split)
        for n, (label, split) in enumerate((x, s) for x in (0, 1, None) for s in SPLITS)
    ]
    assert assign_sides(videos, SplitRule()) == {v.video_id: v.split for v in videos}


def test_a_video_that_the_release_left_out_joins_its_participant():
    videos = [owned_video(f"{side}", side, split=side) for side in SPLITS]
    added = [owned_video(f"{side} 2", side) for side in SPLITS]
    sides = assign_sides([*added, *videos], SplitRule())
    assert [sides[video.video_id] for video in added] == list(SPLITS)
    stranger = owned_video("v", "nobody else")
    drawn = side_by_hash("nobody else", SHARES, 0)
    assert assign_sides([*videos, stranger], SplitRule())[stranger.video_id] == drawn


@pytest.mark.parametrize("split_by", ["release", *DRAWS])
def test_no_side_is_drawn_for_an_unlabelled_video(split_by):
    videos = [*like_bah(9), owned_video("unlabelled", "p1", None)]
    sides = assign_sides(videos, SplitRule(split_by=split_by))
    assert [name for name, side in sides.items() if side is None] == ["unlabelled"]


def test_intervals_alone_are_a_label():
    video = replace(owned_video("v", "p", None), intervals=(Interval(start_ms=0, end_ms=9),))
    assert assign_sides([video], SplitRule())["v"] in SPLITS


def test_a_drawn_side_is_the_same_in_every_process_and_release():
    drawn = [side_by_hash(f"person {n}", SHARES, 0) for n in range(12)]
    assert drawn == [
        "train", "val", "train", "train", "train", "train",
        "train", "train", "train", "train", "train", "test",
    ]  # fmt: skip
    videos = [owned_video(f"{n}", f"person {n}", n % 2) for n in range(12)]
    dealt = assign_sides(videos, SplitRule(split_by="stratified"))
    assert list(dealt.values()) == [
        "train", "val", "train", "test", "train", "train",
        "train", "train", "test", "train", "val", "train",
    ]  # fmt: skip


@pytest.mark.parametrize("shares", [(0.7, 0.1, 0.2), (0.5, 0.25, 0.25), (0.34, 0.33, 0.33)])
def test_by_hash_the_shares_are_met_in_the_large(shares):
    drawn = Counter(side_by_hash(f"person {n}", shares, 3) for n in range(4_000))
    for split, share in zip(SPLITS, shares, strict=True):
        assert drawn[split] / 4_000 == pytest.approx(share, abs=0.03)


@given(videos=data_sets(), seed=st.integers(0, 9))
def test_a_stratified_draw_leaves_no_side_empty_where_there_are_people_enough(videos, seed):
    rule = SplitRule(split_by="stratified", split_fractions=SHARES, split_seed=seed)
    assert set(assign_sides(videos, rule).values()) == set(SPLITS)


@pytest.mark.parametrize("draw", ["hash", "stratified"])
@pytest.mark.parametrize(
    ("shares", "only"), [((1, 0, 0), "train"), ((0, 1, 0), "val"), ((0, 0, 1), "test")]
)
def test_a_share_of_one_takes_everybody(draw, shares, only):
    videos = [owned_video(f"v{n}", None, n % 2) for n in range(300)]
    sides = assign_sides(videos, SplitRule(split_by=draw, split_fractions=shares))
    assert set(sides.values()) == {only}


@pytest.mark.parametrize("draw", DRAWS)
def test_without_a_participant_the_video_is_drawn_by_itself(draw):
    videos = [owned_video(f"v{n}", None, n % 2) for n in range(1_000)]
    drawn = Counter(assign_sides(videos, SplitRule(split_by=draw)).values())
    assert min(drawn[split] for split in SPLITS) > 50


def test_more_folds_than_participants_are_refused_with_the_way_out():
    videos = [owned_video(f"v{n}", f"p{n % 4}") for n in range(40)]
    with pytest.raises(ConfigError, match=r"of 4 participants, too few for manifest.folds = 5"):
        assign_sides(videos, SplitRule(split_by="folds"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"split_fractions": (0.5, 0.5, 0.5)}, "sum to 1"),
        ({"split_fractions": (1.2, -0.2, 0.0)}, ">= 0"),
        ({"split_by": "random"}, "'release', 'hash', 'stratified' or 'folds'"),
        ({"folds": 2}, "greater than or equal to 3"),
        ({"fold": 5}, "fold 5 must be one of 0 to 4"),
        ({"fold": -1}, "greater than or equal to 0"),
    ],
)
def test_settings_that_mean_nothing_are_refused_with_what_was_expected(settings, message):
    with pytest.raises(ValidationError, match=message):
        SplitRule(**settings)
