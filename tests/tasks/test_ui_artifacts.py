"""Artifacts without a server; the pipeline's tests use a real one."""

import logging

import httpx
import pytest

from tasks import ui_artifacts
from tasks.ui_artifacts import ArtifactContent, ProgressReporter, TaskArtifacts

BAR = ArtifactContent(key="progress", data=10, description="1 of 10")
CURVE = ArtifactContent(key="curve", data="# Loss", description="The loss.")


@pytest.fixture
def in_task_run(monkeypatch):
    monkeypatch.setattr(ui_artifacts.TaskRunContext, "get", lambda: "a task run")


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(ui_artifacts.time, "monotonic", lambda: now[0])
    return now


def test_outside_of_a_task_run_no_artifact_is_created(monkeypatch):
    def fail(_: ArtifactContent) -> None:
        raise AssertionError("an artifact was created")

    monkeypatch.setattr(ui_artifacts, "_create", fail)
    TaskArtifacts("infer").update([BAR, CURVE])


def test_artifacts_are_created_once_and_then_changed(monkeypatch, in_task_run):
    created, changed = [], []
    monkeypatch.setattr(
        ui_artifacts, "create_progress_artifact", lambda data, **_: created.append(data) or UUIDS[0]
    )
    monkeypatch.setattr(
        ui_artifacts, "create_markdown_artifact", lambda data, **_: created.append(data) or UUIDS[1]
    )
    artifacts = TaskArtifacts("infer")
    monkeypatch.setattr(artifacts, "_change", changed.append)
    artifacts.update([BAR, CURVE])
    artifacts.update([BAR, CURVE])
    assert created == [10, "# Loss"]
    assert changed == [[BAR, CURVE]]


UUIDS = ("00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002")


def test_an_unreachable_server_stops_no_task_and_is_logged_once(monkeypatch, in_task_run, caplog):
    calls = []

    def fail(content: ArtifactContent) -> None:
        calls.append(content)
        raise httpx.ConnectError("no route to the server")

    monkeypatch.setattr(ui_artifacts, "_create", fail)
    artifacts = TaskArtifacts("infer")
    artifacts.update([BAR])
    artifacts.update([BAR])
    assert len(calls) == 1
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_reports_carry_rate_and_time_left_and_are_limited_in_number(clock, caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    reporter = ProgressReporter("infer", 60)
    shown = []
    monkeypatch.setattr(reporter._artifacts, "update", lambda contents: shown.extend(contents))
    reporter.start()
    clock[0] += 10
    reporter.report(12)
    reporter.report(17)
    clock[0] += 10
    reporter.report(30)
    clock[0] += 10
    reporter.report(30)
    reporter.report(60, is_last=True)
    assert caplog.messages == [
        "infer: 12 of 60 segments, 1.2 per second, about 40 s left",
        "infer: 30 of 60 segments, 1.5 per second, about 20 s left",
        "infer: 60 of 60 segments, 2.0 per second, in 30.0 s",
    ]
    assert [(content.key, content.data) for content in shown] == [
        ("infer-progress", 20),
        ("infer-progress", 50),
        ("infer-progress", 100),
    ]


def test_without_a_start_the_rate_is_that_since_the_first_segments(clock, caplog):
    caplog.set_level(logging.INFO)
    reporter = ProgressReporter("infer", 60, seconds=0)
    for done in (0, 20, 30):
        reporter.report(done, "; on 2 nodes")
        clock[0] += 10
    reporter.report(60, "; on 2 nodes", is_last=True)
    assert caplog.messages == [
        "infer: 0 of 60 segments; on 2 nodes",
        "infer: 20 of 60 segments; on 2 nodes",
        "infer: 30 of 60 segments, 1.0 per second, about 30 s left; on 2 nodes",
        "infer: 60 of 60 segments; on 2 nodes",
    ]
