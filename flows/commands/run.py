"""What a person sees in the terminal: progress while a run lasts, then what came of it."""

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogHandler
from prefect.settings import PREFECT_API_URL, temporary_settings
from rich.console import Console
from rich.table import Table

from flows.commands.outcome import show_outcome
from flows.context.open import open_run
from flows.context.preflight import check_before_start
from flows.context.request import RunRequest
from flows.pipeline import pipeline
from flows.server.local_server import prefect_server
from flows.stage import StageReport
from tasks.log import LOGGER

EXIT_FINE = 0
EXIT_SOME_REJECTED = 3


class _ProgressHandler(logging.Handler):
    """Print each progress line with the time since the run began."""

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


def run_and_show(request: RunRequest) -> int:
    """Run the pipeline against a Prefect server, show its progress and outcome.

    Returns the exit status: 0, or 3 where some videos were rejected.
    """
    console = Console()
    started = time.monotonic()
    reports = run_quietly_with_progress(request, console)
    console.print(_stage_table(reports))
    some_rejected = show_outcome(request, reports, console)
    console.print(f"Finished in {time.monotonic() - started:.0f} s. See this run in the Prefect UI: "
                  "[bold]waver ui[/bold] (or [bold]make ui[/bold])")  # fmt: skip
    return EXIT_SOME_REJECTED if some_rejected else EXIT_FINE


def run_quietly_with_progress(request: RunRequest, console: Console) -> list[StageReport]:
    """Run the pipeline against a Prefect server, telling its progress and nothing else."""
    with at_prefect(console, lambda: check_before_start(open_run(request))):
        return pipeline(request)


@contextmanager
def at_prefect(console: Console, check: Callable[[], None]) -> Iterator[None]:
    """Check, then give a Prefect server to what runs meanwhile, and tell the progress of that."""
    with telling(console):
        check()
        message = "starting the local Prefect server" if _starts_server() else "joining Prefect"
        LOGGER.info(message)
        with prefect_server() as api_url, temporary_settings({PREFECT_API_URL: api_url}):
            LOGGER.info("Prefect UI while this run lasts: %s", api_url.removesuffix("/api"))
            try:
                yield
            finally:
                _hand_over_history()


@contextmanager
def telling(console: Console) -> Iterator[None]:
    """Tell the progress of what is done meanwhile."""
    handler = _ProgressHandler(console)
    LOGGER.addHandler(handler)
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)


def _hand_over_history() -> None:
    """Wait until the server has all logs and states: it may be stopped next."""
    APILogHandler().flush()
    EventsWorker.drain_all(timeout=30)


def _starts_server() -> bool:
    return not os.environ.get("PREFECT_API_URL")


def _stage_table(reports: Sequence[StageReport]) -> Table:
    table = Table(title="Stages", title_justify="left", title_style="bold")
    for name in ("stage", "state"):
        table.add_column(name)
    for name in ("wanted", "there already", "made", "rejected", "seconds"):
        table.add_column(name, justify="right")
    for report in reports:
        counts = (report.num_expected, report.num_cached, report.num_computed, report.num_rejected)
        state = "Cached" if report.is_cached else "Completed"
        table.add_row(report.stage, state, *map(str, counts), f"{report.seconds:.1f}")
    return table


def serve_ui(port: int) -> None:
    """Serve the Prefect UI until Ctrl-C, or name the server that already does."""
    console = Console()
    with prefect_server(port) as api_url:
        console.print(f"Prefect UI: [bold]{api_url.removesuffix('/api')}[/bold] (Ctrl-C ends it)")
        try:
            while True:
                time.sleep(1)
        except KeyboardInterrupt:
            console.print("Stopped; the history is kept.")
