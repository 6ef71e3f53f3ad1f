"""The progress artifact without a server; the pipeline's tests use a real one."""

from tasks import ui_artifacts
from tasks.ui_artifacts import ProgressInUI


def test_how_far_a_stage_is_is_made_once_and_then_renewed(monkeypatch):
    shown = []
    monkeypatch.setattr(ui_artifacts.TaskRunContext, "get", lambda: "a task run")
    progress = ProgressInUI("infer", seconds=3600)
    monkeypatch.setattr(progress, "_make", lambda percent: shown.append(percent) or "an id")
    monkeypatch.setattr(
        progress, "_renew", lambda made, *message: shown.append((made, *message)) or made
    )
    progress.show(10, "1 of 10")
    progress.show(20, "2 of 10")
    progress.show(100, "10 of 10", is_last=True)
    assert shown == [10, ("an id", 100, "10 of 10")]
