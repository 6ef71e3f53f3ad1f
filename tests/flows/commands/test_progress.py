"""Waver's log lines reach the terminal while a command works, and no longer."""

import pytest
from rich.console import Console

from flows.commands.progress import show_progress
from tasks.log import LOGGER


def test_each_log_line_is_printed_with_the_time_since_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("time.monotonic", iter((5.0, 7.9, 3_725.0)).__next__)
    console = Console(width=40)
    long_line = "segment: a [bold] name that is longer than the terminal is wide"
    with console.capture() as capture:
        with show_progress(console):
            LOGGER.info(long_line)
            LOGGER.warning("%d rejected", 3)
        LOGGER.info("not shown")
    lines = capture.get().splitlines()
    assert lines == [f"  0:02  {long_line}", " 62:00  3 rejected"]


def test_a_failure_removes_the_handler() -> None:
    before = list(LOGGER.handlers)
    with pytest.raises(KeyboardInterrupt), show_progress(Console(quiet=True)):
        raise KeyboardInterrupt
    assert before == LOGGER.handlers
