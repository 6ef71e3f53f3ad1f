import json
import os
from dataclasses import replace
from itertools import pairwise

import pytest

from infra.sandbox import world
from infra.sandbox.plan import FRAME_MS, WorldPlan, WorldSettings, plan_world
from infra.sandbox.truth import iter_truths
from infra.sandbox.world import MARKER, main, make_world
from storage.errors import ConfigError, DataError

SMALL = WorldSettings(num_participants=3, videos_per_participant=1, seed=10)


def plan_short_world(settings: WorldSettings) -> WorldPlan:
    """The world's plan with every statement cut to a third, so that it is made in seconds."""
    plan = plan_world(settings)
    videos = []
    for video in plan.videos:
        edges = [0, *(s.end_ms // 3 // FRAME_MS * FRAME_MS for s in video.statements)]
        statements = tuple(
            replace(s, start_ms=start_ms, end_ms=end_ms)
            for s, (start_ms, end_ms) in zip(video.statements, pairwise(edges), strict=True)
        )
        videos.append(replace(video, statements=statements))
    return replace(plan, videos=tuple(videos))


@pytest.fixture(scope="module", autouse=True)
def _short_worlds():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world, "plan_world", plan_short_world)
        yield


@pytest.fixture(scope="module")
def small_world(tmp_path_factory, _short_worlds):
    root = tmp_path_factory.mktemp("small world")
    result = make_world(root, SMALL)
    assert result.num_computed == 3
    return root


def _snapshot(root):
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


@pytest.mark.slow
def test_a_world_holds_the_planned_videos_and_their_truth(small_world):
    plan = plan_short_world(SMALL)
    assert all((small_world / video.path).stat().st_size > 10_000 for video in plan.videos)
    truths = {truth.video_id: truth for truth in iter_truths(small_world)}
    assert set(truths) == {video.video_id for video in plan.videos}
    assert all(truth.words for truth in truths.values())
    assert not (small_world / ".making").exists()


@pytest.mark.slow
def test_a_complete_world_is_left_alone(small_world):
    before = {path: path.stat().st_mtime_ns for path in small_world.rglob("*")}
    assert make_world(small_world, SMALL).num_computed == 0
    assert {path: path.stat().st_mtime_ns for path in small_world.rglob("*")} == before


@pytest.mark.slow
def test_a_removed_video_and_a_damaged_label_file_are_made_again_as_they_were(small_world):
    before = _snapshot(small_world)
    removed = small_world / plan_world(SMALL).videos[0].path
    removed.unlink()
    (small_world / "split" / "train.txt").write_text("")
    progress_calls = []
    result = make_world(small_world, SMALL, progress=lambda *counts: progress_calls.append(counts))
    assert result.num_computed == 1
    assert progress_calls == [(2, 3), (3, 3)]
    assert _snapshot(small_world) == before


@pytest.mark.slow
def test_a_world_stopped_half_way_is_completed_to_the_same_content(
    small_world, tmp_path, monkeypatch
):
    class Killed(BaseException):
        pass

    def stop_after_first(num_cached: int, num_videos: int) -> None:
        if num_cached == 1:
            raise Killed

    with pytest.raises(Killed):
        make_world(tmp_path / "w", SMALL, progress=stop_after_first)
    assert json.loads((tmp_path / "w" / MARKER).read_text())["sizes"] == {}
    assert make_world(tmp_path / "w", SMALL, workers=2).num_computed == 2
    assert _snapshot(tmp_path / "w") == _snapshot(small_world)


def test_other_settings_replace_the_world_and_nothing_else(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(world, "_render_all", lambda *rest: calls.append(rest) or iter(()))
    monkeypatch.setattr(world, "_write_labels", lambda *rest: None)
    for name in world._FILES:
        (tmp_path / name).write_text("old")
    (tmp_path / MARKER).write_text(json.dumps({"digest": "of another world", "sizes": {}}))
    (tmp_path / "Videos").mkdir()
    (tmp_path / "Videos" / "old.mp4").write_text("old")
    (tmp_path / "notes.txt").write_text("mine")
    make_world(tmp_path, SMALL)
    assert len(calls[0][1]) == 3
    assert not (tmp_path / "Videos").exists()
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_folder_with_other_files_is_rejected_and_left_unchanged(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(ConfigError, match="not a sandbox data set"):
        make_world(tmp_path, SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_write_permission_is_rejected(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(DataError, match="may write"):
        make_world(tmp_path / "w", SMALL)


def test_a_file_instead_of_the_folder_is_rejected(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="cannot be written"):
        make_world(tmp_path / "file" / "w", SMALL)


def test_a_wrong_setting_ends_the_command_with_status_2_and_one_sentence(tmp_path, capsys):
    assert main(["--out", str(tmp_path / "w"), "--cue-strength", "0"]) == 2
    assert "cue strength" in capsys.readouterr().err
    assert not (tmp_path / "w").exists()
