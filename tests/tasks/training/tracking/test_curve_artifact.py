"""The curve's artifacts without a server; the pipeline's tests use a real one."""

import httpx
import pytest

from tasks.training.tracking import curve_artifact
from tasks.training.tracking.curve import Curve, write_curve
from tasks.training.tracking.curve_artifact import CurveArtifact
from tests.builders import a_training_step

ROW = a_training_step()


@pytest.fixture
def curve_path(tmp_path):
    write_curve(Curve(num_steps=4, rows=[ROW]), tmp_path / "curve.json")
    return tmp_path / "curve.json"


@pytest.fixture
def in_task_run(monkeypatch):
    monkeypatch.setattr(curve_artifact.TaskRunContext, "get", lambda: "a task run")


def test_outside_of_a_task_run_no_artifact_is_created(curve_path, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("an artifact was created")

    monkeypatch.setattr(curve_artifact, "create_progress_artifact", fail)
    CurveArtifact("seed 0").update(curve_path, is_last=True)


def test_an_unreachable_server_stops_no_training_and_is_logged_once(
    curve_path, monkeypatch, in_task_run
):
    calls, warnings = [], []

    def fail(*_: object, **__: object) -> None:
        calls.append(1)
        raise httpx.ConnectError("no route to the server")

    monkeypatch.setattr(curve_artifact, "create_progress_artifact", fail)
    monkeypatch.setattr(curve_artifact.LOGGER, "warning", lambda *args: warnings.append(args))
    artifact = CurveArtifact("seed 0", seconds=0)
    artifact.update(curve_path)
    artifact.update(curve_path, is_last=True)
    assert len(calls) == len(warnings) == 1


def test_nothing_is_updated_before_the_first_step_or_within_the_interval(
    curve_path, monkeypatch, in_task_run
):
    percents = []
    artifact = CurveArtifact("seed 0", seconds=3600)
    monkeypatch.setattr(
        artifact, "_create", lambda curve: percents.append(curve.percent) or ("a", "b")
    )
    monkeypatch.setattr(
        artifact, "_update", lambda ids, curve: percents.append(curve.percent) or ids
    )
    artifact.update(curve_path.with_name("none yet.json"))
    assert percents == []
    artifact.update(curve_path)
    artifact.update(curve_path)
    assert percents == [25]
    artifact.update(curve_path, is_last=True)
    assert percents == [25, 25]
