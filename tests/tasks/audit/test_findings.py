from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.datasets.dataset import Dataset
from storage.issues import Issue, IssueKind
from storage.media_records import VideoQuality
from storage.records import Interval, VideoId, VideoRecord
from tasks.audit.findings import (
    Finding,
    identical_files,
    media_problems,
    misplaced_intervals,
    participants_in_two_splits,
    participants_spelled_twice,
    reader_issues,
    reencoded_copies,
    summarize,
    unreadable_files,
    unusable_splits,
)
from tests.builders import a_video, media_facts
from tests.spellings import participants, spellings_of


def in_split(name: str, split: str | None = None, **facts) -> VideoRecord:
    return a_video(name, split=split, **facts)


def kinds_and_examples(findings) -> list[tuple[IssueKind, str]]:
    return [(finding.kind, finding.example) for finding in findings]


def test_reader_issues_name_videos_but_never_quote_details():
    issues = (Issue(IssueKind.LENGTHS_DIFFER, "private"), Issue(IssueKind.NO_QUESTION, "private"))
    missing = Issue(IssueKind.VIDEO_MISSING, "x.mp4: annotated, but there is no such file")
    dataset = Dataset(root=Path("x"), videos=(in_split("a", issues=issues),), issues=(missing,))
    assert kinds_and_examples(reader_issues(dataset)) == [
        (IssueKind.VIDEO_MISSING, missing.detail),
        (IssueKind.LENGTHS_DIFFER, "a"),
        (IssueKind.NO_QUESTION, "a"),
    ]


def test_labeled_video_without_participant_is_reported_once():
    reported = (Issue(IssueKind.NO_PARTICIPANT, "reported"),)
    videos = (in_split("a", label=0), in_split("b"), in_split("c", label=1, issues=reported),
              in_split("d", label=1, participant_id="p"))  # fmt: skip
    found = reader_issues(Dataset(root=Path("x"), videos=videos))
    assert kinds_and_examples(found) == [
        (IssueKind.NO_PARTICIPANT, "a"), (IssueKind.NO_PARTICIPANT, "c"),
    ]  # fmt: skip


def test_participant_in_two_splits_is_found_with_all_videos_of_each():
    videos = [
        in_split("a", "train", participant_id="p"), in_split("b", "train", participant_id="p"),
        in_split("c", "test", participant_id="p"), in_split("d", participant_id="p"),
        in_split("e", "val", participant_id="q"), in_split("f", participant_id="q"),
        in_split("g", "val"), in_split("h", "test"),
    ]  # fmt: skip
    assert kinds_and_examples(participants_in_two_splits(videos)) == [
        (IssueKind.PARTICIPANT_IN_TWO_SPLITS, "a (train) + b (train) + c (test) + d"),
    ]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("P1", "p1", True), ("007", "7", True), ("P07", "P7", True), ("0", "00", True),
        ("José", "Jose\u0301", True), ("a b", "a\u00a0 b", True), ("P1", "P\u200b1", True),
        ("P70", "P7", False), ("P1", "P1", True), ("P10", "P1", False), ("P1", None, False),
    ],
)  # fmt: skip
def test_two_spellings_are_one_participant_within_and_between_splits(one, other, same):
    for split in ("test", "train", None):
        videos = [
            in_split("a", "train", participant_id=one), in_split("b", split, participant_id=other),
        ]  # fmt: skip
        crossing = [(IssueKind.PARTICIPANT_IN_TWO_SPLITS, "a (train) + b (test)")]
        expected = crossing if same and split == "test" else []
        assert kinds_and_examples(participants_in_two_splits(videos)) == expected
        spelled = kinds_and_examples(participants_spelled_twice(videos))
        assert [kind for kind, _ in spelled] == (
            [IssueKind.PARTICIPANT_SPELLED_TWICE] if same and one != other else []
        )
    assert IssueKind.PARTICIPANT_IN_TWO_SPLITS.invalidates


def test_spellings_are_quoted_so_that_their_difference_can_be_seen():
    videos = [in_split("a", participant_id="José"), in_split("b", participant_id="Jose\u0301"),
              in_split("c", participant_id="José")]  # fmt: skip
    assert [finding.example for finding in participants_spelled_twice(videos)] == [
        r"'Jose\u0301' of b + 'José' of a"
    ]


@given(participants.flatmap(lambda who: st.tuples(spellings_of(who), spellings_of(who))))
def test_any_two_spellings_in_two_splits_are_one_participant(pair):
    one, other = pair
    videos = [
        in_split("a", "train", participant_id=one), in_split("b", "val", participant_id=other),
    ]  # fmt: skip
    assert len(list(participants_in_two_splits(videos))) == 1


@pytest.mark.parametrize(
    ("first", "second", "found"),
    [
        (("train", 1), ("test", 1), [(IssueKind.SAME_FILE_IN_TWO_SPLITS, "a (train) + b (test)")]),
        (("train", 1), ("train", 1), [(IssueKind.SAME_FILE_TWICE, "a (train) + b (train)")]),
        ((None, None), ("test", 1), [(IssueKind.SAME_FILE_TWICE, "a + b (test)")]),
        (
            (None, 0), (None, 1),
            [(IssueKind.SAME_FILE_TWICE, "a + b"), (IssueKind.SAME_FILE_WITH_TWO_LABELS, "a + b")],
        ),
    ],
)  # fmt: skip
def test_identical_files_are_found(first, second, found):
    videos = [
        in_split(name, split, label=label)
        for name, (split, label) in (("a", first), ("b", second), ("c", ("val", 0)))
    ]
    digests = {VideoId("a"): "same", VideoId("b"): "same", VideoId("c"): "other"}
    assert kinds_and_examples(identical_files(videos, digests)) == found
    assert list(identical_files(videos, {})) == []


def test_all_copies_of_each_side_are_named():
    videos = [in_split(name, "train") for name in "ab"] + [in_split(name, "test") for name in "cd"]
    assert kinds_and_examples(reencoded_copies(videos, [("a", "c", "b", "d")])) == [
        (IssueKind.REENCODED_IN_TWO_SPLITS, "a (train) + b (train) + c (test) + d (test)"),
    ]  # fmt: skip


def test_reencoded_copies_are_reported_by_whether_they_are_in_two_splits():
    videos = [in_split("a", "train"), in_split("b", "test"), in_split("c", "val"), in_split("d")]
    assert kinds_and_examples(reencoded_copies(videos, [("a", "b"), ("c", "d")])) == [
        (IssueKind.REENCODED_IN_TWO_SPLITS, "a (train) + b (test)"),
        (IssueKind.REENCODED_TWICE, "c (val) + d"),
    ]


@pytest.mark.parametrize(
    ("split", "labels", "kinds"),
    [
        ("train", (0, 1, None), []),
        ("train", (None, None), [IssueKind.SPLIT_WITHOUT_LABELS]),
        ("val", (None,), [IssueKind.SPLIT_WITHOUT_LABELS]),
        ("test", (None, None), [IssueKind.TEST_WITHOUT_LABELS]),
        ("test", (1, None, 1), [IssueKind.SPLIT_OF_ONE_LABEL]),
        (None, (None, None), []),
    ],
)
def test_split_without_labels_or_with_one_class_is_found(split, labels, kinds):
    videos = [in_split(str(n), split, label=label) for n, label in enumerate(labels)]
    others = {"train", "val", "test"} - {split} if split else ()
    videos += [in_split(f"{n}{other}", other, label=n) for other in others for n in (0, 1)]
    assert [finding.kind for finding in unusable_splits(videos)] == kinds
    assert {finding.example for finding in unusable_splits(videos)} <= {split}


@pytest.mark.parametrize(
    ("splits", "found"),
    [
        (("train", "val", "test"), []),
        (("train", "test"), [(IssueKind.SPLIT_WITHOUT_VIDEOS, "val")]),
        (("val", "test", None), [(IssueKind.SPLIT_WITHOUT_VIDEOS, "train")]),
        (("train", "val"), [(IssueKind.TEST_WITHOUT_VIDEOS, "test")]),
        ((None,), []),
    ],
)
def test_split_without_videos_is_found_if_any_video_has_a_split(splits, found):
    videos = [in_split(f"{n}{split}", split, label=n) for split in splits for n in (0, 1)]
    assert kinds_and_examples(unusable_splits(videos)) == found
    assert not IssueKind.TEST_WITHOUT_VIDEOS.invalidates
    assert IssueKind.SPLIT_WITHOUT_VIDEOS.invalidates


def test_intervals_are_checked_on_videos_that_can_be_opened():
    across = (Interval(start_ms=0, end_ms=1100),)
    after = (Interval(start_ms=1000, end_ms=1100),)
    videos = [
        in_split("a", label=1, intervals=across), in_split("b", label=1, intervals=after),
        in_split("c", label=1, intervals=(Interval(start_ms=1, end_ms=2),)),
        in_split("d", label=1, intervals=(Interval(start_ms=100, end_ms=83_000),)),
        in_split("unopened", label=1, intervals=after),
    ]  # fmt: skip
    durations = {VideoId(name): 1000 for name in "abcd"}
    assert kinds_and_examples(misplaced_intervals(videos, durations)) == [
        (IssueKind.INTERVAL_PAST_END, "a"),
        (IssueKind.INTERVAL_AFTER_END, "b"),
        (
            IssueKind.NO_INTERVAL_WITHIN,
            "b: 1 of 1 intervals are not within the video: its segments stay unlabeled",
        ),
        (
            IssueKind.IMPLAUSIBLE_UNIT,
            "c: all intervals end by 2 ms of a video of 1000 ms: their times are probably in "
            "seconds: give milliseconds",
        ),
        (IssueKind.INTERVAL_FAR_PAST_END, "d"),
        (
            IssueKind.NO_INTERVAL_WITHIN,
            "d: 1 of 1 intervals are not within the video: its segments stay unlabeled",
        ),
    ]


def test_every_warning_of_a_decoded_video_is_found_once():
    black = VideoQuality(black_fraction=1.0, frozen_fraction=1.0)
    dark = media_facts(
        video_id="a", video_quality=black,
        warnings=("the video is black for 100% of its duration", "2 of 50 frames are damaged"),
    )  # fmt: skip
    assert kinds_and_examples(media_problems([dark, media_facts(video_id="b")])) == [
        (IssueKind.BLACK_VIDEO, "a: the video is black for 100% of its duration"),
        (IssueKind.MEDIA, "a: 2 of 50 frames are damaged"),
    ]


def test_unreadable_file_is_found_with_its_reason():
    found = unreadable_files({VideoId("a"): "the file is empty (0 bytes)"})
    assert kinds_and_examples(found) == [
        (IssueKind.CANNOT_BE_OPENED, "a: the file is empty (0 bytes)"),
    ]  # fmt: skip


def test_findings_are_counted_by_example_and_those_that_invalidate_come_first():
    minor, severe = IssueKind.LENGTHS_DIFFER, IssueKind.NEGATIVE_WITH_INTERVALS
    found = [Finding(kind=minor, example=name) for name in "abcdea"]
    first, second = summarize([*found, Finding(kind=severe, example="z")])
    assert (first.name, first.value, first.invalidates) == ("negative_with_intervals", 1, True)
    assert (second.name, second.value, second.invalidates) == ("lengths_differ", 5, False)
    assert (second.examples, second.meaning) == (tuple("abcde"), minor.meaning)
    assert {first.subject, second.subject} == {"finding"}
    assert summarize([]) == []
