"""Artifacts without a server; the pipeline's tests use a real one."""

import logging

import httpx
import pytest

from tasks import ui_artifacts
from tasks.ui_artifacts import (
    ArtifactContent,
    ProgressReporter,
    RunArtifacts,
    format_count,
    format_duration,
    format_rate,
)

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


def test_outside_of_a_run_no_artifact_is_created(monkeypatch):
    def fail(_: ArtifactContent) -> None:
        raise AssertionError("an artifact was created")

    monkeypatch.setattr(ui_artifacts, "_create", fail)
    RunArtifacts("infer").update([BAR, CURVE])


def test_artifacts_are_created_once_and_then_changed(monkeypatch, in_task_run):
    created, changed = [], []
    monkeypatch.setattr(
        ui_artifacts, "create_progress_artifact", lambda data, **_: created.append(data) or UUIDS[0]
    )
    monkeypatch.setattr(
        ui_artifacts, "create_markdown_artifact", lambda data, **_: created.append(data) or UUIDS[1]
    )
    artifacts = RunArtifacts("infer")
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
    artifacts = RunArtifacts("infer")
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


def test_without_a_start_the_rate_is_that_since_the_first_items_computed(clock, caplog):
    caplog.set_level(logging.INFO)
    reporter = ProgressReporter("segment", 60, unit="videos", num_cached=10, seconds=0)
    for done in (10, 20, 30):
        reporter.report(done, " (10 cached)")
        clock[0] += 10
    reporter.report(60, " (10 cached)", is_last=True)
    assert caplog.messages == [
        "segment: 10 of 60 videos (10 cached)",
        "segment: 20 of 60 videos (10 cached)",
        "segment: 30 of 60 videos (10 cached), 1.0 per second, about 30 s left",
        "segment: 60 of 60 videos (10 cached)",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (99, "99 s"), (100, "2 min"), (5_400, "90 min"), (6_000, "1 h 40 min"),
     (100_000, "27 h 47 min"), (200_000, "2 d 8 h"), (10 * 86_400, "10 d 0 h")],
)  # fmt: skip
def test_durations_are_given_in_their_largest_units(seconds, text):
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("rate", "text"),
    [(6.25, "6.2 per second"), (0.5, "30.0 per minute"), (0.005, "18.0 per hour")],
)
def test_low_rates_are_given_per_minute_or_hour(rate, text):
    assert format_rate(rate) == text


def test_a_count_of_one_has_a_singular_unit():
    assert [format_count(n, "videos") for n in (0, 1, 16)] == ["0 videos", "1 video", "16 videos"]
