"""Progress in the terminal while a command works, with or without a Prefect server."""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogHandler
from prefect.settings import PREFECT_API_URL, temporary_settings
from rich.console import Console

from flows.server.local_server import prefect_server
from flows.server.watch import end_when_lost
from tasks.log import LOGGER


class _ProgressHandler(logging.Handler):
    """Prints each log line with the time since the command started."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.INFO)
        self.console = console
        self.started = time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        minutes, seconds = divmod(int(time.monotonic() - self.started), 60)
        style = "yellow" if record.levelno >= logging.WARNING else None
        clock = f"[dim]{minutes:3d}:{seconds:02d}[/dim]"
        self.console.print(f"{clock}  ", end="", highlight=False)
        self.console.print(
            record.getMessage(), style=style, highlight=False, markup=False, soft_wrap=True
        )


@contextmanager
def show_progress(console: Console) -> Iterator[None]:
    """Print Waver's log lines while the body runs."""
    handler = _ProgressHandler(console)
    LOGGER.addHandler(handler)
    logging.raiseExceptions = False  # Prefect prints "Error logging to API" with a traceback
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)


@contextmanager
def with_prefect() -> Iterator[None]:
    """Run the body against a Prefect server: the one of the environment, else a local one."""
    is_external = bool(os.environ.get("PREFECT_API_URL"))
    LOGGER.info("connecting to Prefect" if is_external else "starting the local Prefect server")
    with (
        prefect_server() as api_url,
        temporary_settings({PREFECT_API_URL: api_url}),
        end_when_lost(api_url, is_external=is_external) as is_lost,
    ):
        LOGGER.info("Prefect UI during this run: %s", api_url.removesuffix("/api"))
        try:
            yield
        finally:
            if not is_lost():
                _flush_history()


def _flush_history() -> None:
    """Wait until the server has received all logs and states: it may stop next."""
    APILogHandler().flush()
    EventsWorker.drain_all(timeout=30)
