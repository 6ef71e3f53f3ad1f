"""The curve's artifacts without a server; the pipeline's tests use a real one."""

import pytest

from tasks.training.tracking.curve import Curve, write_curve
from tasks.training.tracking.curve_artifact import CurveArtifact
from tests.builders import a_training_step


@pytest.fixture
def curve_path(tmp_path):
    write_curve(Curve(num_steps=4, rows=[a_training_step()]), tmp_path / "curve.json")
    return tmp_path / "curve.json"


def test_nothing_is_updated_before_the_first_step_or_within_the_interval(curve_path, monkeypatch):
    updates = []
    artifact = CurveArtifact("seed 0", seconds=3600)
    monkeypatch.setattr(artifact._artifacts, "update", updates.append)
    artifact.update(curve_path.with_name("none yet.json"))
    assert updates == []
    artifact.update(curve_path)
    artifact.update(curve_path)
    artifact.update(curve_path, is_last=True)
    assert [[content.key for content in contents] for contents in updates] == [
        ["finetune-progress", "finetune-curve"]
    ] * 2
    assert [progress.data for progress, _ in updates] == [25, 25]
    assert all(isinstance(curve.data, str) for _, curve in updates)


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        (range(1, 11), "seed 7: 10 of 40 steps, 2.5 s per step, about 75 s left"),
        (range(1, 41), "seed 7: 40 of 40 steps"),
    ],
)
def test_progress_has_the_steps_and_the_time_left(tmp_path, monkeypatch, steps, text):
    rows = [a_training_step(step, seconds=2.0, wait_seconds=0.5) for step in steps]
    write_curve(Curve(num_steps=40, rows=rows), tmp_path / "curve.json")
    updates = []
    artifact = CurveArtifact("seed 7")
    monkeypatch.setattr(artifact._artifacts, "update", updates.append)
    artifact.update(tmp_path / "curve.json")
    assert updates[0][0].description == text
