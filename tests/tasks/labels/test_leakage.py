from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import LeakageError
from storage.records import SPLITS
from tasks.labels.leakage import check_no_leakage
from tasks.labels.split_assignment import split_by_hash
from tests.builders import a_sample
from tests.spellings import participants, spellings_of

FRACTIONS = (0.7, 0.1, 0.2)


def owned_sample(video_id: str, participant_id: str | None, split: str | None, **fields):
    return a_sample(video_id, participant_id=participant_id, split=split, **fields)


CLEAN = [
    owned_sample("a1", "ann", "train"),
    owned_sample("a2", "ann", "train"),
    owned_sample("b1", "bea", "val"),
    owned_sample("c1", None, "test"),
    owned_sample("u1", "ann", None),  # unlabeled: in no split
]


def test_clean_split_passes():
    check_no_leakage(CLEAN, [])
    check_no_leakage([], [])


@pytest.mark.parametrize(
    ("leak", "message", "details"),
    [
        (
            owned_sample("a3", "ann", "test"),
            "participant \\(1\\)",
            ("participant ann: test, train",),
        ),
        (
            replace(CLEAN[3], split="val"),
            "video \\(1\\), file content \\(1\\)",
            ("video c1: test, val", "file content c1: test, val"),
        ),
        (
            owned_sample("copy of b1", "carl", "train", source_digest="source b1"),
            "file content \\(1\\)",
            ("file content b1 = copy of b1: train, val",),
        ),
    ],
)
def test_leaks_are_counted_in_the_message_and_named_in_the_details(leak, message, details):
    with pytest.raises(LeakageError, match=f"^The same {message} .*one split") as caught:
        check_no_leakage([*CLEAN, leak], [])
    assert caught.value.details == details
    named = [leak.video_id, "b1", *([leak.participant_id] if leak.participant_id else [])]
    assert not any(name in repr(caught.value) for name in named)


@given(participants.flatmap(lambda who: st.tuples(spellings_of(who), spellings_of(who))))
def test_two_spellings_of_a_participant_in_two_splits_are_rejected(pair):
    one, other = pair
    samples = [owned_sample("v1", one, "train"), owned_sample("v2", other, "test")]
    with pytest.raises(LeakageError, match=r"^The same participant \(1\)"):
        check_no_leakage(samples, [])
    check_no_leakage([samples[0], replace(samples[1], split="train")], [])


@pytest.mark.parametrize(
    ("one", "other", "quoted"),
    [
        ("José", "Jose\u0301", r"'Jose\u0301' = 'José'"), ("007", "7", "'007' = '7'"),
        ("P\u00a01", "p 1", r"'P\xa01' = 'p 1'"),
    ],
)  # fmt: skip
def test_spellings_in_two_splits_are_quoted_so_that_they_can_be_corrected(one, other, quoted):
    samples = [owned_sample("v1", one, "val"), owned_sample("v2", other, "test")]
    with pytest.raises(LeakageError) as caught:
        check_no_leakage(samples, [])
    assert caught.value.details == (f"participant {quoted}: test, val",)


def test_two_spellings_of_a_video_in_two_splits_are_rejected():
    names = ("x/José.mp4", "X/Jose\u0301.MP4")
    samples = [owned_sample(n, None, s) for n, s in zip(names, ("train", "val"), strict=True)]
    with pytest.raises(LeakageError, match=r"^The same video \(1\) is"):
        check_no_leakage(samples, [])


def test_all_leaks_are_counted_and_named():
    leaks = [owned_sample(f"v{n}{split}", f"p{n}", split) for n in range(80) for split in SPLITS]
    with pytest.raises(LeakageError, match=r"participant \(80\) is in") as caught:
        check_no_leakage(leaks, [])
    assert len(caught.value.details) == 80


@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 20), st.integers(0, 12)), max_size=30),
    st.integers(0, 5),
)
def test_split_by_hash_only_leaks_through_copies_of_a_file(rows, seed):
    samples = [
        owned_sample(
            f"{person}/{video}",
            f"p{person}",
            split_by_hash(f"p{person}", FRACTIONS, seed),
            source_digest=f"content {content}",
        )
        for person, video, content in rows
    ]
    splits_of: dict[str, set[str | None]] = {}
    for sample in samples:
        splits_of.setdefault(sample.source_digest, set()).add(sample.split)
    if any(len(splits) > 1 for splits in splits_of.values()):
        with pytest.raises(LeakageError, match="file content"):
            check_no_leakage(samples, [])
    else:
        check_no_leakage(samples, [])
