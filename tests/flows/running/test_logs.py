"""Logs without a server; `test_prefect_ui` looks at a parent run's log."""

from flows.running.logs import collect_warnings, log_to_parent
from tasks.log import LOGGER


def test_different_warnings_of_the_body_are_collected_once_each() -> None:
    LOGGER.warning("before")
    with collect_warnings() as warnings:
        LOGGER.info("not a warning")
        for number in (1, 2, 1):
            LOGGER.warning("segment: %d videos were cut with a warning", number)
        LOGGER.error("an error")
    LOGGER.warning("after")
    assert warnings == [
        "segment: 1 videos were cut with a warning",
        "segment: 2 videos were cut with a warning",
        "an error",
    ]


def test_of_very_many_warnings_the_first_are_kept() -> None:
    with collect_warnings() as warnings:
        for number in range(1_000):
            LOGGER.warning("warning %d", number)
    assert warnings == [f"warning {number}" for number in range(30)]


def test_outside_of_a_flow_run_nothing_is_forwarded() -> None:
    before = list(LOGGER.handlers)
    with log_to_parent():
        assert LOGGER.handlers == before
