"""What of the curve needs no server; with one it is held to by the pipeline's tests."""

import httpx
import pytest

from storage.results import TrainingStepRecord
from tasks import ui_artifacts as watching
from tasks.training.tracking.curve import Curve, write_curve
from tasks.ui_artifacts import CurveInUI, ProgressInUI

ROW = TrainingStepRecord(
    step=1, loss=0.5, grad_norm=1.0, learning_rate=0.1, num_samples=4, seconds=0.5
)


@pytest.fixture
def curve_path(tmp_path):
    write_curve(Curve(num_steps=4, rows=[ROW]), tmp_path / "curve.json")
    return tmp_path / "curve.json"


def test_outside_of_a_task_run_nothing_is_shown(curve_path, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("nobody asked")

    monkeypatch.setattr(watching, "create_progress_artifact", refuse)
    CurveInUI("seed 0").show(curve_path, is_last=True)


def test_a_server_that_does_not_answer_stops_no_training_and_is_told_once(curve_path, monkeypatch):
    calls, message = [], []

    def fail(*_: object, **__: object) -> None:
        calls.append(1)
        raise httpx.ConnectError("no route to the server")

    monkeypatch.setattr(watching.TaskRunContext, "get", lambda: "a task run")
    monkeypatch.setattr(watching, "create_progress_artifact", fail)
    monkeypatch.setattr(watching.LOGGER, "warning", lambda *message: message.append(message))
    curve = CurveInUI("seed 0", seconds=0)
    curve.show(curve_path)
    curve.show(curve_path, is_last=True)
    assert len(calls) == len(message) == 1


def test_before_the_first_step_and_between_two_renewals_nothing_is_shown(curve_path, monkeypatch):
    shown = []
    monkeypatch.setattr(watching.TaskRunContext, "get", lambda: "a task run")
    curve = CurveInUI("seed 0", seconds=3600)
    monkeypatch.setattr(curve, "_make", lambda curve: shown.append(curve.percent) or ("a", "b"))
    monkeypatch.setattr(curve, "_renew", lambda ids, curve: shown.append(curve.percent) or ids)
    curve.show(curve_path.with_name("none yet.json"))
    assert shown == []
    curve.show(curve_path)
    curve.show(curve_path)
    assert shown == [25]
    curve.show(curve_path, is_last=True)
    assert shown == [25, 25]


def test_how_far_a_stage_is_is_made_once_and_then_renewed(monkeypatch):
    shown = []
    monkeypatch.setattr(watching.TaskRunContext, "get", lambda: "a task run")
    progress = ProgressInUI("infer", seconds=3600)
    monkeypatch.setattr(progress, "_make", lambda percent: shown.append(percent) or "an id")
    monkeypatch.setattr(
        progress, "_renew", lambda made, *message: shown.append((made, *message)) or made
    )
    progress.show(10, "1 of 10")
    progress.show(20, "2 of 10")
    progress.show(100, "10 of 10", is_last=True)
    assert shown == [10, ("an id", 100, "10 of 10")]
