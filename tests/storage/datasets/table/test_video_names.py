import unicodedata
from pathlib import Path

import pytest

from storage.datasets.open import read_dataset
from storage.datasets.table.rows import TableRow
from storage.datasets.table.video_names import VideoNames
from storage.errors import DataError
from storage.issues import IssueKind
from storage.paths import VIDEO_SUFFIXES


def _row(video: str, line: int = 2) -> TableRow:
    return TableRow(location=f"labels.csv, line {line}", cells={"video": video})


def _folder(root: Path, *names: str, table: str = "") -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    if table:
        (root / "labels.csv").write_text(table, encoding="utf-8")
    return root


@pytest.mark.parametrize("name", ["José/entrevue é.mp4", "한국어.mov", "Ångström.mkv"])
@pytest.mark.parametrize(("stored", "written"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_a_label_finds_a_file_whose_accents_are_stored_otherwise(tmp_path, name, stored, written):
    on_disk = unicodedata.normalize(stored, name)
    in_table = unicodedata.normalize(written, name)
    root = _folder(tmp_path, on_disk, table=f"video,label\n{in_table},1\n")
    (video,) = read_dataset(str(root)).videos
    assert (video.path, video.label) == (on_disk, 1)


@pytest.mark.parametrize("cell", ["a  b.mp4", "A\u00a0B.MP4", "a\u200b b.mp4", "./a b.mp4"])
def test_a_label_finds_a_file_with_other_blanks_or_case(tmp_path, cell):
    assert VideoNames(tmp_path, ("a b.mp4", "c.mp4")).video_of(_row(cell)) == "a b.mp4"


def test_the_exact_name_is_taken_among_several_spellings(tmp_path):
    names = VideoNames(tmp_path, ("A.mp4", "a.mp4"))
    assert names.video_of(_row("a.mp4")) == "a.mp4"
    assert names.video_of(_row("A.mp4")) == "A.mp4"


def test_a_name_that_may_be_several_files_is_an_error_with_all_of_them(tmp_path):
    names = VideoNames(tmp_path, ("Ab.mp4", "aB.mp4"))
    with pytest.raises(DataError, match=r"line 2: the video 'ab\.mp4' may be any of") as caught:
        names.video_of(_row("ab.mp4"))
    assert "'Ab.mp4' and 'aB.mp4'" in str(caught.value)


def test_two_spellings_of_one_file_in_the_table_are_an_error(tmp_path):
    names = VideoNames(tmp_path, ("Jose\u0301.mp4",))
    names.video_of(_row("Jose\u0301.mp4"))
    with pytest.raises(DataError, match=r"line 3: .* use one spelling") as caught:
        names.video_of(_row("José.mp4", 3))
    assert r"'Jose\u0301.mp4' at labels.csv, line 2" in str(caught.value)


def test_files_side_by_side_stay_two_videos_and_are_reported(tmp_path):
    table = "video,label\na.mp4,1\nA.mp4,0\n"
    dataset = read_dataset(str(_folder(tmp_path, "a.mp4", "A.mp4", table=table)))
    assert [(video.path, video.label) for video in dataset.videos] == [("A.mp4", 0), ("a.mp4", 1)]
    (issue,) = dataset.issues
    assert issue.kind is IssueKind.VIDEO_SPELLINGS_DIFFER
    assert "'A.mp4' and 'a.mp4'" in issue.detail


@pytest.mark.parametrize("name", ["a.wav", "b.m4a", "c.h264", "d.xyz"])
def test_a_file_whose_suffix_is_not_taken_is_named_with_those_that_are(tmp_path, name):
    _folder(tmp_path, name)
    with pytest.raises(DataError, match=f"the video {name!r} cannot be used") as caught:
        VideoNames(tmp_path, ()).video_of(_row(name))
    assert all(suffix in str(caught.value) for suffix in VIDEO_SUFFIXES)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("", "line 2: video is empty"),
        ("../a.mp4", "line 2: .* leaves the data folder"),
        ("z.mp4", r"line 2: there is no video 'z\.mp4' in the data folder: .* such as 'a\.mp4'"),
    ],
)
def test_a_cell_without_a_video_is_an_error_with_its_line(tmp_path, cell, message):
    with pytest.raises(DataError, match=message):
        VideoNames(tmp_path, ("a.mp4",)).video_of(_row(cell))


@pytest.mark.parametrize("name", [".hidden/a.mp4", ".a.mp4"])
def test_a_hidden_file_is_named_as_such(tmp_path, name):
    _folder(tmp_path, name)
    with pytest.raises(DataError, match="hidden"):
        VideoNames(tmp_path, ()).video_of(_row(name))


def test_a_file_in_a_linked_folder_is_named_as_such(tmp_path):
    _folder(tmp_path, "real/a.mp4")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(DataError, match="its folder is a link"):
        VideoNames(tmp_path, ("real/a.mp4",)).video_of(_row("link/a.mp4"))
