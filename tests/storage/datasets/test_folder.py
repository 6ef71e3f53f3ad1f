from storage.datasets.folder import read_folder
from storage.issues import IssueKind


def test_every_video_at_any_depth_becomes_a_record_without_a_label(tmp_path):
    for name in ("b.mp4", "day 1/a.mkv", "day 1/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    dataset = read_folder(tmp_path)
    assert [video.path for video in dataset.videos] == ["b.mp4", "day 1/a.mkv"]
    assert [video.video_id for video in dataset.videos] == ["b.mp4", "day 1/a.mkv"]
    assert all(video.label is None and video.split is None for video in dataset.videos)
    assert not dataset.has_labels
    assert dataset.issues == ()


def test_a_link_that_leaves_the_folder_is_skipped_and_reported(tmp_path):
    (tmp_path / "secret.mp4").touch()
    root = tmp_path / "videos"
    root.mkdir()
    (root / "own.mp4").touch()
    (root / "linked.mp4").symlink_to(tmp_path / "secret.mp4")
    dataset = read_folder(root)
    assert [video.path for video in dataset.videos] == ["own.mp4"]
    (issue,) = dataset.issues
    assert issue.kind is IssueKind.PATH_REJECTED
    assert "linked.mp4" in issue.detail


def test_a_folder_without_videos_has_none(tmp_path):
    (tmp_path / "notes.txt").touch()
    assert read_folder(tmp_path).videos == ()
