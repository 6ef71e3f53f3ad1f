"""`waver plan`: what a run would compute and why, as a table or as JSON."""

import json

from rich.console import Console
from rich.table import Table

from flows.context.request import RunRequest
from flows.planning.plan import plan_run
from flows.planning.records import RunPlan, StagePlan
from flows.planning.units import format_bytes, format_seconds
from storage.schema import to_plain
from tasks.terminal import titled_table

_MAX_REASONS = 5  # of a stage in the table; JSON has all


def show_plan(request: RunRequest, *, as_json: bool) -> None:
    """Print what a run would compute.

    Raises:
        WaverError: as `plan_run`.
    """
    plan = plan_run(request)
    if as_json:
        print(json.dumps(to_plain(plan), indent=2))  # noqa: T201 - the document itself
        return
    console = Console()
    console.print(plan_table(plan))
    if any(stage.is_run and stage.reasons for stage in plan.stages):
        console.print(reason_table(plan))
    for line in plan_lines(plan):
        console.print(line, highlight=False, markup=False)


def plan_table(plan: RunPlan) -> Table:
    """Return a row of counts and costs for each stage."""
    table = titled_table("Plan")
    table.add_column("stage")
    for name in ("expected", "cached", "to compute", "time", "disk"):
        table.add_column(name, justify="right")
    for stage in plan.stages:
        cells = (
            _number(stage.num_expected, stage),
            _number(stage.num_cached, stage),
            _number(stage.num_missing, stage),
            "" if stage.num_missing == 0 else format_seconds(stage.seconds),
            "" if stage.num_missing == 0 else format_bytes(stage.num_bytes),
        )
        name = stage.stage if stage.is_run else f"({stage.stage})"
        table.add_row(name, *cells, style=None if stage.is_run else "dim")
    return table


def reason_table(plan: RunPlan) -> Table:
    """Return why items are missing, stage by stage."""
    table = titled_table("Why")
    table.add_column("stage")
    table.add_column("items", justify="right")
    table.add_column("reason", overflow="fold")
    for stage in plan.stages:
        shown = stage.reasons[:_MAX_REASONS] if stage.is_run else ()
        for number, reason in enumerate(shown):
            count = f"{'~' if stage.is_estimate else ''}{reason.count:,}" if reason.count else ""
            table.add_row("" if number else stage.stage, count, reason.detail)
        if rest := sum(reason.count for reason in stage.reasons[len(shown) :] if shown):
            table.add_row("", f"{rest:,}", "other reasons: see --json")
    return table


def _number(count: int | None, stage: StagePlan) -> str:
    if count is None:
        return "?"
    return f"~{count:,}" if stage.is_estimate and count else f"{count:,}"


def plan_lines(plan: RunPlan) -> list[str]:
    """Return the totals, what they leave out, and why the run would stop."""
    problems = [f"This run would stop: {problem}." for problem in plan.problems]
    if plan.is_cached:
        return ["Nothing to compute: every result is in the store.", *problems]
    free = "" if plan.free_bytes is None else f"; {format_bytes(plan.free_bytes)} are free"
    at_least = "at least " if plan.without_rate else ""
    lines = [
        f"In total, by this store's own rates: {at_least}{format_seconds(plan.seconds)}, "
        f"{at_least}{format_bytes(plan.num_bytes)} of disk{free}."
    ]
    if plan.without_rate:
        lines.append(f"? no rate yet, until a first run: {', '.join(plan.without_rate)}.")
    if any(stage.is_estimate and stage.is_run for stage in plan.stages):
        lines.append("~ estimated: follows from results that earlier stages have yet to compute.")
    if plan.free_bytes is not None and plan.num_bytes > plan.free_bytes:
        problems.append("The disk is too small for this run: free space, or name another --store.")
    return [*lines, *problems]
