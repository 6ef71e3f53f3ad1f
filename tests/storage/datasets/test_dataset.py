import pytest

from storage.datasets.dataset import Dataset
from storage.datasets.folder import read_folder
from storage.fingerprint import digest_file
from storage.records import VideoId
from tests.builders import a_video


@pytest.fixture
def folder(tmp_path):
    for name in ("a.MOV", "b.mp4", "c.webm"):
        (tmp_path / name).write_text(f"content of {name}")
    return tmp_path


def test_one_labeled_video_is_enough_to_have_labels(tmp_path):
    videos = [a_video(n, label=0 if n == "b" else None) for n in "abc"]
    assert Dataset(root=tmp_path, videos=tuple(videos)).has_labels
    assert not Dataset(root=tmp_path, videos=tuple(videos[:1])).has_labels


def test_a_file_is_read_once_per_opened_data_set(folder, monkeypatch):
    reads = []

    def counted(path):
        reads.append(path.name)
        return digest_file(path)

    monkeypatch.setattr("storage.datasets.dataset.digest_file", counted)
    dataset = read_folder(folder)
    assert reads == []
    for _ in range(3):
        assert len(dataset.source_digests()) == 3
    assert sorted(reads) == ["a.MOV", "b.mp4", "c.webm"]


def test_digests_follow_the_content(folder):
    before = read_folder(folder).source_digests()
    assert before == {
        video_id: digest_file(path) for video_id, path in read_folder(folder).paths().items()
    }
    (folder / "b.mp4").write_text("CONTENT of b.mp4")
    after = read_folder(folder).source_digests()
    assert {name for name in before if before[name] != after[name]} == {"b.mp4"}


def test_a_removed_file_keeps_its_row_in_the_data_set(folder):
    dataset = read_folder(folder)
    (folder / "b.mp4").unlink()
    assert dataset.source_digests()[VideoId("b.mp4")] == "unreadable"
