import unicodedata

import pytest

from storage.datasets.open import read_dataset
from storage.datasets.spellings import alike, videos_spelled_twice
from storage.issues import IssueKind
from tests.builders import a_video

NFC, NFD = "José.mp4", "Jose\u0301.mp4"


def test_names_are_grouped_by_their_key():
    assert list(alike(["a", "b", "A", "b", "c", "C"])) == [("a", "A"), ("c", "C")]
    assert list(alike([NFC, "x", NFD])) == [(NFC, NFD)]


@pytest.mark.parametrize(
    ("contents", "facts", "kind"),
    [
        ((b"x", b"x"), ({}, {}), IssueKind.VIDEO_SPELLED_TWICE),
        ((b"x", b"y"), ({}, {}), IssueKind.VIDEO_SPELLINGS_DIFFER),
        ((b"x", b"xx"), ({}, {}), IssueKind.VIDEO_SPELLINGS_DIFFER),
        ((b"x", b"x"), ({"label": 0}, {"label": 1}), IssueKind.VIDEO_SPELLINGS_DIFFER),
        ((b"x", b"x"), ({"split": "val"}, {"split": "test"}), IssueKind.VIDEO_SPELLINGS_DIFFER),
    ],
)
def test_files_side_by_side_invalidate_if_content_or_labels_differ(tmp_path, contents, facts, kind):
    videos = []
    for name, content, known in zip((NFC, NFD), contents, facts, strict=True):
        (tmp_path / name).write_bytes(content)
        videos.append(a_video(name, **known))
    (issue,) = videos_spelled_twice(tmp_path, [*videos, a_video("z.mp4")])
    assert issue.kind is kind
    assert kind.invalidates == (kind is IssueKind.VIDEO_SPELLINGS_DIFFER)
    assert r"'José.mp4' and 'Jose\u0301.mp4'" in issue.detail


def test_a_file_that_cannot_be_read_is_not_taken_for_the_same(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"x")
    (issue,) = videos_spelled_twice(tmp_path, [a_video("a.mp4"), a_video("A.mp4")])
    assert issue.kind is IssueKind.VIDEO_SPELLINGS_DIFFER


def test_every_video_of_a_folder_is_kept(tmp_path):
    for form in ("NFC", "NFD"):
        (tmp_path / unicodedata.normalize(form, NFC)).write_bytes(b"x")
    dataset = read_dataset(str(tmp_path))
    assert {video.path for video in dataset.videos} == {NFC, NFD}
    assert [issue.kind for issue in dataset.issues] == [IssueKind.VIDEO_SPELLED_TWICE]
