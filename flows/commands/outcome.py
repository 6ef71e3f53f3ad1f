"""What came of a run: verdicts and figures on the terminal, and where the report lies."""

from collections.abc import Sequence

from rich.console import Console

from flows.context.open import open_run
from flows.context.request import RunRequest
from flows.stage import StageReport
from storage.results import MemberRecord, MetricRecord, ThresholdRecord, VerdictRecord
from tasks.aggregate import report_path
from tasks.report.table import result_table


def show_outcome(request: RunRequest, reports: Sequence[StageReport], console: Console) -> bool:
    """Print the verdict table and the report's place, if this run got that far.

    Returns True if any stage rejected something.
    """
    if any(report.stage == "aggregate" for report in reports):
        run = open_run(request)
        variant, expected = run.aggregate, run.expected_report
        console.print(
            result_table(
                variant.read(VerdictRecord, expected),
                variant.read(ThresholdRecord, expected),
                variant.read(MetricRecord, expected),
                run.rejected(),
                variant.read(MemberRecord, expected),
            )
        )
        report = run.store.full_path(report_path(variant, expected))
        for path in run.model_paths.values():
            console.print(f"Model:  {path}", soft_wrap=True, highlight=False)
        console.print(f"Report: {report}", soft_wrap=True, highlight=False)
    return any(report.num_rejected for report in reports)
