from pathlib import Path

import pytest

from storage.datasets.open import open_dataset
from storage.datasets.video_list import write_list
from storage.errors import DataError
from storage.fingerprint import digest_file


@pytest.fixture
def videos(tmp_path: Path) -> list[Path]:
    """Two files of one name, and one that lies in no folder that is read otherwise."""
    paths = [tmp_path / name for name in ("a ü/one video.mp4", "b/one video.mp4", ".c/notes")]
    for number, path in enumerate(paths):
        path.parent.mkdir()
        path.write_text(f"content {number}")
    return paths


def test_listed_files_are_a_data_set_of_just_these_in_their_order(
    videos: list[Path], tmp_path: Path
) -> None:
    listed = write_list(tmp_path, videos[::-1])
    dataset = open_dataset(str(listed))
    assert [video.video_id for video in dataset.videos] == [str(path) for path in videos[::-1]]
    assert list(dataset.paths().values()) == videos[::-1]
    assert list(dataset.source_digests().values()) == [digest_file(path) for path in videos[::-1]]
    assert not dataset.has_labels


def test_a_file_keeps_its_id_whatever_it_is_listed_with(videos: list[Path], tmp_path: Path) -> None:
    alone = open_dataset(str(write_list(tmp_path / "b", videos[1:2]))).videos
    together = open_dataset(str(write_list(tmp_path, videos))).videos
    assert alone[0] in together


def test_a_list_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="names no video"):
        open_dataset(str(write_list(tmp_path, [])))


def test_any_other_file_is_still_no_data_set(videos: list[Path]) -> None:
    with pytest.raises(DataError, match="is a file"):
        open_dataset(str(videos[0]))
