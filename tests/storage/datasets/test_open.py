import os
from pathlib import Path

import pytest

from storage.datasets.open import open_dataset
from storage.errors import DataError
from storage.issues import IssueKind
from storage.records import VideoId


@pytest.fixture
def folder(tmp_path):
    for name in ("b.mp4", "a.MOV", "deeper/c.webm", "notes.txt"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"content of {name}")
    return tmp_path / "data"


def test_a_folder_of_videos_is_a_data_set_without_labels(folder):
    dataset = open_dataset(str(folder))
    assert [video.video_id for video in dataset.videos] == ["a.MOV", "b.mp4", "deeper/c.webm"]
    assert not dataset.has_labels
    assert dataset.paths()[VideoId("deeper/c.webm")] == folder / "deeper" / "c.webm"


def test_frames_of_a_release_are_not_opened(folder, monkeypatch):
    stat_paths = []
    stat = os.stat

    def counted(path, *arguments, **options):
        stat_paths.append(str(path))
        return stat(path, *arguments, **options)

    frame = folder / "cropped-aligned-faces" / "a" / "0001.jpg"
    frame.parent.mkdir(parents=True)
    frame.write_bytes(b"frame")
    (folder / "split").mkdir()
    (folder / "split" / "train.txt").write_text("b.mp4,0\nnobody.mp4,1\n")
    monkeypatch.setattr(os, "stat", counted)
    open_dataset(str(folder))
    assert stat_paths
    assert not any(path.endswith("0001.jpg") for path in stat_paths)


def test_changed_labels_are_seen_by_the_next_opening(folder):
    (folder / "split").mkdir()
    for label in (0, 1):
        (folder / "split" / "train.txt").write_text(f"b.mp4,{label}\nnobody.mp4,1\n")
        labels = {video.video_id: video.label for video in open_dataset(str(folder)).videos}
        assert labels[VideoId("b.mp4")] == label


def test_an_added_video_is_seen_by_the_next_opening(folder):
    open_dataset(str(folder))
    (folder / "new.mp4").write_text("new")
    assert VideoId("new.mp4") in open_dataset(str(folder)).paths()


@pytest.mark.parametrize(
    ("name", "message"),
    [("nowhere", "There is no data folder .*nowhere.*--data"),
     ("notes.txt", "The data folder .*notes.txt' is a file: name the folder .*--data")],
)  # fmt: skip
def test_a_path_that_is_no_folder_is_rejected_with_a_remedy(folder, name, message):
    with pytest.raises(DataError, match=message):
        open_dataset(str(folder / name))


def test_a_folder_without_videos_is_rejected_with_what_was_expected(tmp_path):
    (tmp_path / "notes.txt").write_text("no video")
    with pytest.raises(DataError, match=r"No video was found under .*\.mp4, \.mov"):
        open_dataset(str(tmp_path))


def test_a_video_name_that_is_not_valid_unicode_is_skipped_and_reported(folder):
    odd = os.fsencode(folder) + b"/caf\xe9.mp4"
    with open(odd, "wb") as stream:  # noqa: PTH123 - the name is bytes
        stream.write(b"x")
    dataset = open_dataset(str(folder))
    assert len(dataset.videos) == 3
    (issue,) = dataset.issues
    assert issue.kind is IssueKind.PATH_REJECTED
    assert "not valid Unicode: rename" in issue.detail


@pytest.mark.parametrize("call", ["is_dir", "iterdir"])
def test_an_unreadable_folder_is_named(tmp_path, monkeypatch, call):
    def fail(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, call, fail)
    with pytest.raises(DataError, match=r"cannot be read \(Permission denied\): .*--data"):
        open_dataset(str(tmp_path))
