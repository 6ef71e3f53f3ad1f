from pathlib import Path

import pytest

from storage.datasets.video_list import dataset_of_videos
from storage.errors import DataError
from storage.fingerprint import digest_file


@pytest.fixture
def videos(tmp_path: Path) -> list[Path]:
    """Two files of one name, and one in a hidden folder, which readers of folders skip."""
    paths = [tmp_path / name for name in ("a ü/one video.mp4", "b/one video.mp4", ".c/notes")]
    for number, path in enumerate(paths):
        path.parent.mkdir()
        path.write_text(f"content {number}")
    return paths


def test_listed_files_are_a_data_set_of_just_these_in_their_order(videos: list[Path]) -> None:
    dataset = dataset_of_videos([str(path) for path in videos[::-1]])
    assert [video.video_id for video in dataset.videos] == [str(path) for path in videos[::-1]]
    assert list(dataset.paths().values()) == videos[::-1]
    assert list(dataset.source_digests().values()) == [digest_file(path) for path in videos[::-1]]
    assert not dataset.has_labels


def test_a_file_keeps_its_id_whatever_it_is_listed_with(videos: list[Path]) -> None:
    (alone,) = dataset_of_videos([str(videos[1])]).videos
    assert alone in dataset_of_videos([str(path) for path in videos]).videos


def test_an_empty_list_is_rejected() -> None:
    with pytest.raises(DataError, match="list of videos is empty"):
        dataset_of_videos([])
