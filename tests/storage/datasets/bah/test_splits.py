from pathlib import Path

import pytest

from storage.datasets.bah.splits import SplitRow, join_rows, read_splits
from storage.errors import DataError
from storage.issues import Issue, IssueKind


def _write(root: Path, split: str, text: str | bytes) -> None:
    (root / "split").mkdir(exist_ok=True)
    content = text.encode() if isinstance(text, str) else text
    (root / "split" / f"{split}.txt").write_bytes(content)


def test_a_line_is_split_at_its_first_two_commas_only(tmp_path):
    _write(tmp_path, "train", "Videos/1/a b.mp4,1, I guess, well, no.\n\nVideos/1/c.mp4,0,\n")
    rows, issues = read_splits(tmp_path)
    assert rows == (
        SplitRow(name="Videos/1/a b.mp4", split="train", label=1),
        SplitRow(name="Videos/1/c.mp4", split="train", label=0),
    )
    assert issues == ()


def test_a_transcript_that_looks_like_a_label_is_not_read_as_one(tmp_path):
    _write(tmp_path, "val", "a.mp4,1,0,0\nb.mp4,0,1\n")
    rows, _ = read_splits(tmp_path)
    assert [row.label for row in rows] == [1, 0]


def test_a_split_with_only_zeros_has_placeholders(tmp_path):
    _write(tmp_path, "test", "a.mp4,0,x\nb.mp4,0,y\n")
    rows, issues = read_splits(tmp_path)
    assert [row.label for row in rows] == [None, None]
    assert issues[0].kind is IssueKind.PLACEHOLDER_LABELS
    assert "all 2 lines" in issues[0].detail


@pytest.mark.parametrize("line", ["a.mp4", "a.mp4,", "a.mp4,yes,words", "a.mp4,2,x"])
def test_a_line_without_a_label_keeps_its_split_and_is_reported_by_number(tmp_path, line):
    _write(tmp_path, "train", f"b.mp4,1,x\n{line}\n")
    rows, issues = read_splits(tmp_path)
    assert rows[1] == SplitRow(name="a.mp4", split="train", label=None)
    message = "split/train.txt, line 2: no label 0 or 1 after the path"
    assert issues == (Issue(IssueKind.LABEL_UNREADABLE, message),)


def test_a_release_without_split_files_has_no_rows(tmp_path):
    assert read_splits(tmp_path) == ((), ())


def test_a_byte_order_mark_is_not_part_of_the_first_path(tmp_path):
    _write(tmp_path, "train", b"\xef\xbb\xbfa.mp4,1,x\r\n")
    assert read_splits(tmp_path)[0][0].name == "a.mp4"


def test_a_split_file_that_is_not_text_is_rejected(tmp_path):
    _write(tmp_path, "train", b"\xff\xfe\x00\x81")
    with pytest.raises(DataError, match=r"split/train\.txt"):
        read_splits(tmp_path)


def test_a_video_in_two_splits_is_an_issue_and_the_first_is_used():
    row = SplitRow(name="a.mp4", split="train", label=1)
    issues: list[Issue] = []
    assert join_rows(row, SplitRow(name="a.mp4", split="val", label=0), issues) == row
    message = "listed in split/train.txt and in split/val.txt"
    assert issues == [Issue(IssueKind.VIDEO_IN_TWO_SPLITS, message)]


def test_two_labels_in_one_split_are_an_issue_and_the_first_is_used():
    issues: list[Issue] = []
    first = SplitRow(name="a.mp4", split="train", label=1)
    assert join_rows(first, SplitRow(name="a.mp4", split="train", label=0), issues) == first
    assert [issue.kind for issue in issues] == [IssueKind.LISTED_WITH_TWO_LABELS]
