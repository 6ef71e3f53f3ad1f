"""A run of the pipeline as the terminal shows it: progress, then results."""

import time
from collections.abc import Iterator, Sequence
from typing import cast

from rich.console import Console
from rich.table import Table

from flows.commands.exit_status import ExitStatus
from flows.commands.progress import show_progress, with_prefect
from flows.context.context import Context, context_of
from flows.context.preflight import check_before_start
from flows.context.request import RunRequest
from flows.context.results import open_report
from flows.pipeline import pipeline
from flows.running.outcome import state_name
from flows.running.stage import StageReport
from storage.records import RejectedRecord
from storage.results import MemberRecord, MetricRecord, ThresholdRecord, VerdictRecord
from storage.store.store import Store
from tasks.aggregate import report_path
from tasks.report.table import result_table
from tasks.terminal import printable, titled_table

_COUNTS = ("expected", "cached", "computed", "rejected", "seconds")


def run_and_show(request: RunRequest) -> ExitStatus:
    """Run the pipeline against a Prefect server and print its progress and results."""
    console = Console()
    started = time.monotonic()
    with show_progress(console), context_of(request) as context:
        reports = run_pipeline(context)
        console.print(stage_table(reports))
        for line in rejected_lines(reports, context.store):
            console.print(line, soft_wrap=True, highlight=False, markup=False)
        if any(report.stage == "aggregate" for report in reports):
            _show_results(context, console)
    seconds = time.monotonic() - started
    console.print(
        f"Finished in {seconds:.0f} s. To see this run in the Prefect UI: [bold]waver ui[/bold] "
        "(or [bold]make ui[/bold])"
    )
    some_rejected = any(report.num_rejected for report in reports)
    return ExitStatus.SOME_REJECTED if some_rejected else ExitStatus.DONE


def run_pipeline(context: Context) -> list[StageReport]:
    """Run the pipeline in an open context, against a Prefect server."""
    check_before_start(context)
    with with_prefect():
        # A flow that returns a state gives its caller the state's data.
        return cast(list[StageReport], pipeline(context.request))


def stage_table(reports: Sequence[StageReport]) -> Table:
    """Return a table of the stages' states, counts of items, and seconds."""
    table = titled_table("Stages")
    for name in ("stage", "state"):
        table.add_column(name)
    for name in _COUNTS:
        table.add_column(name, justify="right")
    for report in reports:
        counts = (report.num_expected, report.num_cached, report.num_computed, report.num_rejected)
        table.add_row(
            report.stage, state_name([report]), *map(str, counts), f"{report.seconds:.1f}"
        )
    return table


def rejected_lines(reports: Sequence[StageReport], store: Store) -> Iterator[str]:
    """Name the first items that each stage rejected, their reasons, and where all of them are."""
    for report in reports:
        if not report.num_rejected:
            continue
        yield f"Rejected by {report.stage}: {report.num_rejected} of {report.num_expected}"
        for row in report.first_rejected:
            yield f"  {printable(row.item_id)}: {printable(row.reason)}"
        if report.num_rejected > len(report.first_rejected):
            table = f"{report.stage}/{report.variant_id}/{RejectedRecord.__name__}"
            yield (
                f"  and {report.num_rejected - len(report.first_rejected)} more: see artifact "
                f"{report.stage}-rejected in `waver ui`, or the Parquet files in "
                f"{store.location(table)}"
            )


def _show_results(context: Context, console: Console) -> None:
    """Print the verdict table and where models and the report are."""
    report = open_report(context)
    console.print(
        result_table(
            report.read(VerdictRecord),
            report.read(ThresholdRecord),
            report.read(MetricRecord),
            list(report.inference.rejected),
            report.read(MemberRecord),
        )
    )
    path = context.store.location(report_path(report.variant, report.expected))
    for model in report.inference.models.members:
        console.print(f"Model:  {model.path}", soft_wrap=True, highlight=False)
    console.print(f"Report: {path}", soft_wrap=True, highlight=False)
