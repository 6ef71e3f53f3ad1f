from pathlib import Path

import pytest

from storage.datasets.dataset import Dataset
from storage.issues import Issue, IssueKind
from storage.records import Interval, VideoId, VideoRecord
from tasks.audit.findings import (
    Finding,
    alike_participants,
    beyond_the_end,
    divided_participants,
    empty_splits,
    reencoded,
    reported_by_reader,
    same_files,
    summarise,
    unopened,
)
from tests.builders import a_video


def in_split(name: str, split: str | None = None, **facts) -> VideoRecord:
    return a_video(name, split=split, **facts)


def kinds_and_examples(findings) -> list[tuple[IssueKind, str]]:
    return [(finding.kind, finding.example) for finding in findings]


def test_what_the_reader_told_is_given_by_video_and_never_in_its_words():
    issues = (Issue(IssueKind.LENGTHS_DIFFER, "private"), Issue(IssueKind.NO_QUESTION, "private"))
    message = Issue(IssueKind.VIDEO_MISSING, "x.mp4: annotated, but there is no such file")
    dataset = Dataset(root=Path("x"), videos=(in_split("a", issues=issues),), issues=(message,))
    assert kinds_and_examples(reported_by_reader(dataset)) == [
        (IssueKind.VIDEO_MISSING, message.detail),
        (IssueKind.LENGTHS_DIFFER, "a"),
        (IssueKind.NO_QUESTION, "a"),
    ]


def test_a_labelled_video_of_nobody_known_is_told_once():
    message = (Issue(IssueKind.NO_PARTICIPANT, "told"),)
    videos = (in_split("a", label=0), in_split("b"), in_split("c", label=1, issues=message),
              in_split("d", label=1, participant_id="p"))  # fmt: skip
    found = reported_by_reader(Dataset(root=Path("x"), videos=videos))
    assert kinds_and_examples(found) == [
        (IssueKind.NO_PARTICIPANT, "a"), (IssueKind.NO_PARTICIPANT, "c"),
    ]  # fmt: skip


def test_a_participant_in_two_splits_is_found_with_a_video_of_each():
    videos = [
        in_split("a", "train", participant_id="p"), in_split("b", "train", participant_id="p"),
        in_split("c", "test", participant_id="p"), in_split("d", participant_id="p"),
        in_split("e", "val", participant_id="q"), in_split("f", participant_id="q"),
        in_split("g", "val"), in_split("h", "test"),
    ]  # fmt: skip
    assert kinds_and_examples(divided_participants(videos)) == [
        (IssueKind.PARTICIPANT_IN_TWO_SPLITS, "a (train) + c (test) + d"),
    ]


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("P1", "p1", True), ("007", "7", True), ("P07", "P7", True), ("0", "00", True),
        ("P70", "P7", False), ("P1", "P1", False), ("P10", "P1", False), ("P1", None, False),
    ],
)  # fmt: skip
def test_ids_that_may_be_two_spellings_of_one_are_told_in_two_splits(one, other, alike):
    for split, found in (("test", alike), ("train", False), (None, False)):
        videos = [
            in_split("a", "train", participant_id=one), in_split("b", split, participant_id=other),
        ]  # fmt: skip
        expected = [(IssueKind.PARTICIPANTS_ALIKE_IN_TWO_SPLITS, "a (train) + b (test)")]
        assert kinds_and_examples(alike_participants(videos)) == (expected if found else [])
    assert not IssueKind.PARTICIPANTS_ALIKE_IN_TWO_SPLITS.invalidates


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
def test_files_of_the_same_content_are_found(first, second, found):
    videos = [
        in_split(name, split, label=label)
        for name, (split, label) in (("a", first), ("b", second), ("c", ("val", 0)))
    ]
    digests = {VideoId("a"): "same", VideoId("b"): "same", VideoId("c"): "other"}
    assert kinds_and_examples(same_files(videos, digests)) == found
    assert list(same_files(videos, {})) == []


def test_recordings_encoded_again_are_told_by_whether_they_stand_in_two_splits():
    videos = [in_split("a", "train"), in_split("b", "test"), in_split("c", "val"), in_split("d")]
    assert kinds_and_examples(reencoded(videos, [("a", "b"), ("c", "d")])) == [
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
def test_a_split_that_teaches_or_measures_nothing_is_found(split, labels, kinds):
    videos = [in_split(str(n), split, label=label) for n, label in enumerate(labels)]
    others = {"train", "val", "test"} - {split} if split else ()
    videos += [in_split(f"{n}{other}", other, label=n) for other in others for n in (0, 1)]
    assert [finding.kind for finding in empty_splits(videos)] == kinds
    assert {finding.example for finding in empty_splits(videos)} <= {split}


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
def test_where_any_video_has_a_split_one_without_videos_is_found(splits, found):
    videos = [in_split(f"{n}{split}", split, label=n) for split in splits for n in (0, 1)]
    assert kinds_and_examples(empty_splits(videos)) == found
    assert not IssueKind.TEST_WITHOUT_VIDEOS.invalidates
    assert IssueKind.SPLIT_WITHOUT_VIDEOS.invalidates


def test_intervals_are_laid_on_the_videos_that_could_be_opened():
    across = (Interval(start_ms=0, end_ms=1100),)
    after = (Interval(start_ms=1000, end_ms=1100),)
    videos = [
        in_split("a", label=1, intervals=across), in_split("b", label=1, intervals=after),
        in_split("c", label=0, intervals=across), in_split("unopened", label=1, intervals=after),
    ]  # fmt: skip
    durations = {VideoId(name): 1000 for name in "abc"}
    assert kinds_and_examples(beyond_the_end(videos, durations)) == [
        (IssueKind.INTERVAL_PAST_END, "a"),
        (IssueKind.INTERVAL_AFTER_END, "b"),
        (IssueKind.NO_INTERVAL_WITHIN, "b"),
        (IssueKind.INTERVAL_PAST_END, "c"),
    ]


def test_what_cannot_be_opened_is_found_with_its_reason():
    found = unopened({VideoId("a"): "the file is empty (0 bytes)"})
    assert kinds_and_examples(found) == [
        (IssueKind.CANNOT_BE_OPENED, "a: the file is empty (0 bytes)"),
    ]  # fmt: skip


def test_findings_are_counted_by_what_they_are_about_and_those_that_spoil_come_first():
    mild, grave = IssueKind.LENGTHS_DIFFER, IssueKind.NEGATIVE_WITH_INTERVALS
    found = [Finding(kind=mild, example=name) for name in "abcdea"]
    first, second = summarise([*found, Finding(kind=grave, example="z")])
    assert (first.name, first.value, first.invalidates) == ("negative_with_intervals", 1, True)
    assert (second.name, second.value, second.invalidates) == ("lengths_differ", 5, False)
    assert (second.examples, second.meaning) == (("a", "b", "c"), mild.meaning)
    assert {first.subject, second.subject} == {"finding"}
    assert summarise([]) == []
