"""Waver's log lines while a flow runs: its warnings, and a parent run's log."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prefect.context import FlowRunContext
from prefect.logging import get_run_logger

from tasks.log import LOGGER

_MAX_WARNINGS = 30


class _Handler(logging.Handler):
    def __init__(self, level: int, handle: Callable[[logging.LogRecord], None]) -> None:
        super().__init__(level)
        self._handle = handle

    def emit(self, record: logging.LogRecord) -> None:
        self._handle(record)


@contextmanager
def _handled(level: int, handle: Callable[[logging.LogRecord], None]) -> Iterator[None]:
    handler = _Handler(level, handle)
    LOGGER.addHandler(handler)
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)


@contextmanager
def collect_warnings() -> Iterator[list[str]]:
    """Yield a list to which the different warnings are added that are logged while the body runs.

    The first of very many are kept.
    """
    warnings: list[str] = []

    def add(record: logging.LogRecord) -> None:
        message = record.getMessage()
        if message not in warnings and len(warnings) < _MAX_WARNINGS:
            warnings.append(message)

    with _handled(logging.WARNING, add):
        yield warnings


@contextmanager
def log_to_parent() -> Iterator[None]:
    """Write what the flows called in the body log to the running flow's log too.

    Prefect shows a line only in the flow run that logged it: the page of a pipeline would show
    nothing of its stages.
    """
    parent = FlowRunContext.get()
    if parent is None or parent.flow_run is None:
        yield
        return
    parent_id, logger = parent.flow_run.id, get_run_logger(parent)

    def forward(record: logging.LogRecord) -> None:
        current = FlowRunContext.get()
        if current is None or current.flow_run is None or current.flow_run.id != parent_id:
            logger.log(record.levelno, "%s", record.getMessage())

    with _handled(logging.INFO, forward):
        yield


def log_failure(message: str) -> None:
    """Log why a flow failed as an error of the running flow; the terminal prints it otherwise."""
    if (context := FlowRunContext.get()) is not None:
        get_run_logger(context).error("%s", message)
