import logging

import pytest

from tasks import ui_artifacts
from tasks.inference.progress import EngineLines, EnginesProgress


@pytest.fixture
def clock(monkeypatch):  # type: ignore[no-untyped-def]
    now = [100.0]
    monkeypatch.setattr(ui_artifacts.time, "monotonic", lambda: now[0])
    return now


def test_predictions_of_all_engines_are_summed_with_rate_and_time_left(clock, caplog) -> None:  # type: ignore[no-untyped-def]
    caplog.set_level(logging.INFO)
    progress = EnginesProgress("infer", 60)
    for engine in (0, 1):
        progress.on_line(engine, "model open after 3 s")
    clock[0] += 10
    progress.on_line(0, "done 12")
    assert "12 of 60 segments, 1.2 per second, about 40 s left" in caplog.text
    progress.on_line(1, "done 5")
    assert "17 of 60" not in caplog.text, "at most one line in five seconds"
    clock[0] += 10
    progress.on_line(1, "done 18")
    assert "30 of 60 segments, 1.5 per second, about 20 s left" in caplog.text
    progress.restart(30)
    progress.on_line(0, "done 30")
    assert "60 of 60 segments, 3.0 per second, in 20.0 s" in caplog.text


@pytest.mark.parametrize("lines", [EngineLines("infer"), EnginesProgress("infer", 2)])
def test_warnings_are_logged_as_warnings_and_other_lines_as_info(lines, caplog) -> None:  # type: ignore[no-untyped-def]
    caplog.set_level(logging.INFO)
    for line in ("warning: slow", "peak memory 1.0 GiB"):
        lines.on_line(0, line)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "infer: slow"),
        ("INFO", "infer: peak memory 1.0 GiB"),
    ]


def test_counts_are_not_logged_where_the_store_is_followed(caplog) -> None:  # type: ignore[no-untyped-def]
    caplog.set_level(logging.INFO)
    EngineLines("infer").on_line(0, "done 12")
    assert caplog.messages == []
