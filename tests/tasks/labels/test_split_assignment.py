from collections import Counter, defaultdict
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from storage.errors import ConfigError
from storage.records import (
    SPLITS,
    Interval,
    VideoId,
    VideoRecord,
)
from tasks.labels.split_assignment import SplitRule, assign_splits, split_by_hash
from tests.builders import a_video
from tests.spellings import spellings_of

METHODS = ("hash", "stratified", "folds")
FRACTIONS = (0.7, 0.1, 0.2)


def owned_video(
    name: str, participant: str | None, label: int | None = 0, split: str | None = None
) -> VideoRecord:
    return a_video(name, participant_id=participant, label=label, split=split)


@st.composite
def data_sets(draw: st.DrawFn, min_people: int = 3) -> list[VideoRecord]:
    """People with one to eight labeled videos each."""
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
    """Return about five videos per person; some people never and some nearly always show A/H."""
    return [
        owned_video(
            f"{person}/{number}", f"p{person}", int((person * 7 + number * 5) % 11 < person % 9)
        )
        for person in range(num_people)
        for number in range(3 + person % 5)
    ]


def people_of(videos: list[VideoRecord], splits: dict[VideoId, str | None]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for video in videos:
        found[video.participant_id].add(splits[video.video_id])
    return found


@given(data_sets(), st.sampled_from(METHODS), st.integers(0, 9), st.randoms(use_true_random=False))
def test_participant_is_in_one_split_whatever_the_order(videos, method, seed, rng):
    rule = SplitRule(split_by=method, split_seed=seed, folds=3)
    splits = assign_splits(videos, rule)
    assert all(len(found) == 1 for found in people_of(videos, splits).values())
    assert set(splits.values()) <= set(SPLITS)
    assert assign_splits(rng.sample(videos, len(videos)), rule) == splits


@given(st.data(), st.sampled_from((*METHODS, "release")), st.integers(0, 9))
def test_any_spelling_of_a_participant_gets_the_participants_split(data, method, seed):
    people = ["José  Luis", "90001", "P07", "Åsa Öman", "Straße 3", "김민수"]
    spelled = [data.draw(spellings_of(who)) for who in people for _ in range(3)]
    labels = data.draw(st.lists(st.integers(0, 1), min_size=18, max_size=18))
    rule = SplitRule(split_by=method, split_seed=seed, folds=3)

    def splits_of(names: list[str]) -> list[str | None]:
        videos = [
            owned_video(str(index), who, label)
            for index, (who, label) in enumerate(zip(names, labels, strict=True))
        ]
        splits = assign_splits(videos, rule)
        return [splits[video.video_id] for video in videos]

    splits = splits_of(spelled)
    assert all(len(set(splits[start : start + 3])) == 1 for start in range(0, 18, 3))
    assert splits == splits_of([who for who in people for _ in range(3)])


def test_a_video_without_a_split_joins_its_participants_under_another_spelling():
    videos = [owned_video("a", "José", 0, "test"), owned_video("b", "JOSE\u0301", 1)]
    assert set(assign_splits(videos, SplitRule()).values()) == {"test"}


@given(data_sets(min_people=6), st.integers(3, 6), st.integers(0, 9))
def test_over_all_folds_everybody_tests_once_validates_once_and_trains_otherwise(
    videos, folds, seed
):
    roles: dict[str, list[str]] = defaultdict(list)
    for fold in range(folds):
        rule = SplitRule(split_by="folds", folds=folds, fold=fold, split_seed=seed)
        for person, found in people_of(videos, assign_splits(videos, rule)).items():
            roles[person].extend(found)
    expected = Counter(test=1, val=1, train=folds - 2)
    assert all(Counter(found) == expected for found in roles.values())


@pytest.mark.parametrize("fractions", [FRACTIONS, (0.5, 0.25, 0.25), (0.8, 0.1, 0.1)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_stratified_split_meets_the_fractions_of_each_label(fractions, seed):
    videos = like_bah(200)
    splits = assign_splits(
        videos, SplitRule(split_by="stratified", split_fractions=fractions, split_seed=seed)
    )
    for label in (0, 1):
        of_label = [splits[video.video_id] for video in videos if video.label == label]
        found = Counter(of_label)
        for split, fraction in zip(SPLITS, fractions, strict=True):
            assert found[split] / len(of_label) == pytest.approx(fraction, abs=0.01)


@pytest.mark.parametrize("seed", [0, 1])
def test_folds_contain_equally_many_videos_of_each_label(seed):
    videos = like_bah(100)
    for label in (0, 1):
        of_label = [video.video_id for video in videos if video.label == label]
        for fold in range(5):
            rule = SplitRule(split_by="folds", fold=fold, split_seed=seed)
            splits = assign_splits(videos, rule)
            tested = sum(splits[name] == "test" for name in of_label)
            assert tested / len(of_label) == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize("method", METHODS)
def test_another_seed_gives_another_split(method):
    videos = like_bah(60)
    first, second = (
        assign_splits(videos, SplitRule(split_by=method, split_seed=seed)) for seed in (0, 1)
    )
    assert first != second


@given(data_sets(), st.integers(0, 5), st.integers(0, 30))
def test_added_video_moves_no_other_under_hash(videos, seed, person):
    rule = SplitRule(split_by="hash", split_seed=seed)
    before = assign_splits(videos, rule)
    after = assign_splits([*videos, owned_video("added", f"p{person}")], rule)
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize("method", METHODS)
def test_configured_method_replaces_the_released_split(method):
    videos = like_bah(30)
    released = [replace(video, split="test") for video in videos]
    rule = SplitRule(split_by=method)
    assert assign_splits(released, rule) == assign_splits(videos, rule)


def test_released_split_is_kept_by_default_even_for_unlabeled_videos():
    videos = [
        owned_video(f"v{n}", "ann", label, split)
        for n, (label, split) in enumerate((x, s) for x in (0, 1, None) for s in SPLITS)
    ]
    assert assign_splits(videos, SplitRule()) == {v.video_id: v.split for v in videos}


def test_video_without_a_released_split_joins_its_participant():
    videos = [owned_video(f"{split}", split, split=split) for split in SPLITS]
    added = [owned_video(f"{split} 2", split) for split in SPLITS]
    splits = assign_splits([*added, *videos], SplitRule())
    assert [splits[video.video_id] for video in added] == list(SPLITS)
    stranger = owned_video("v", "nobody else")
    expected = split_by_hash("nobody else", FRACTIONS, 0)
    assert assign_splits([*videos, stranger], SplitRule())[stranger.video_id] == expected


@pytest.mark.parametrize("split_by", ["release", *METHODS])
def test_unlabeled_video_gets_no_split(split_by):
    videos = [*like_bah(9), owned_video("unlabeled", "p1", None)]
    splits = assign_splits(videos, SplitRule(split_by=split_by))
    assert [name for name, split in splits.items() if split is None] == ["unlabeled"]


def test_intervals_count_as_a_label():
    video = replace(owned_video("v", "p", None), intervals=(Interval(start_ms=0, end_ms=9),))
    assert assign_splits([video], SplitRule())["v"] in SPLITS


def test_assignment_is_the_same_in_every_process_and_release():
    by_hash = [split_by_hash(f"person {n}", FRACTIONS, 0) for n in range(12)]
    assert by_hash == [
        "train", "val", "train", "train", "train", "train",
        "train", "train", "train", "train", "train", "test",
    ]  # fmt: skip
    videos = [owned_video(f"{n}", f"person {n}", n % 2) for n in range(12)]
    stratified = assign_splits(videos, SplitRule(split_by="stratified"))
    assert list(stratified.values()) == [
        "train", "val", "train", "test", "train", "train",
        "train", "train", "test", "train", "val", "train",
    ]  # fmt: skip


@pytest.mark.parametrize("fractions", [(0.7, 0.1, 0.2), (0.5, 0.25, 0.25), (0.34, 0.33, 0.33)])
def test_hash_meets_the_fractions_for_many_participants(fractions):
    counts = Counter(split_by_hash(f"person {n}", fractions, 3) for n in range(4_000))
    for split, fraction in zip(SPLITS, fractions, strict=True):
        assert counts[split] / 4_000 == pytest.approx(fraction, abs=0.03)


@given(videos=data_sets(), seed=st.integers(0, 9))
def test_stratified_split_leaves_no_split_empty_with_enough_participants(videos, seed):
    rule = SplitRule(split_by="stratified", split_fractions=FRACTIONS, split_seed=seed)
    assert set(assign_splits(videos, rule).values()) == set(SPLITS)


@pytest.mark.parametrize("method", ["hash", "stratified"])
@pytest.mark.parametrize(
    ("fractions", "only"), [((1, 0, 0), "train"), ((0, 1, 0), "val"), ((0, 0, 1), "test")]
)
def test_fraction_of_one_takes_everybody(method, fractions, only):
    videos = [owned_video(f"v{n}", None, n % 2) for n in range(300)]
    splits = assign_splits(videos, SplitRule(split_by=method, split_fractions=fractions))
    assert set(splits.values()) == {only}


@pytest.mark.parametrize("method", METHODS)
def test_video_without_a_participant_is_assigned_by_itself(method):
    videos = [owned_video(f"v{n}", None, n % 2) for n in range(1_000)]
    counts = Counter(assign_splits(videos, SplitRule(split_by=method)).values())
    assert min(counts[split] for split in SPLITS) > 50


def test_more_folds_than_participants_are_rejected_with_a_remedy():
    videos = [owned_video(f"v{n}", f"p{n % 4}") for n in range(40)]
    with pytest.raises(ConfigError, match=r"have 4 participants, too few for manifest.folds = 5"):
        assign_splits(videos, SplitRule(split_by="folds"))


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
def test_invalid_settings_are_rejected_with_what_was_expected(settings, message):
    with pytest.raises(ValidationError, match=message):
        SplitRule(**settings)
