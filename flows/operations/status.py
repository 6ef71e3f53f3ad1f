"""`waver status`: one screen about a store, as tables or as JSON."""

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from flows.context.context import open_existing_store
from flows.context.request import RunRequest
from flows.planning.units import format_bytes, format_seconds
from flows.upkeep.status import StoreStatus, current_variants, read_status
from storage.schema import to_plain
from storage.store.journal import StageRun
from tasks.terminal import titled_table

_MAX_RUNS, _MAX_REASONS = 8, 8
_MAX_VARIANTS = 4  # of a stage in the terminal, the newest and the current ones


def show_status(store_url: str, request: RunRequest | None, *, as_json: bool) -> None:
    """Print what a store holds, its last runs, and who works in it; writes nothing.

    With a request, the variants of its settings are marked.

    Raises:
        DataError: the store does not exist, or the data set cannot be read.
    """
    store = open_existing_store(store_url, read_only=True)
    current = current_variants(request) if request else frozenset()
    status = read_status(store, current)
    if as_json:
        print(json.dumps(to_plain(status), indent=2))  # noqa: T201 - the document itself
        return
    console = Console()
    console.print(variant_table(status))
    if status.runs:
        console.print(run_table(status.runs[:_MAX_RUNS]))
    if status.rejected:
        console.print(rejected_table(status))
    for line in status_lines(status):
        console.print(line, highlight=False, markup=False, overflow="fold")


def variant_table(status: StoreStatus) -> Table:
    """Return the variants of each stage, the newest first."""
    table = titled_table("Results")
    for name in ("stage", "variant"):
        table.add_column(name)
    for name in ("items", "size", "computed"):
        table.add_column(name, justify="right")
    for stage in dict.fromkeys(variant.stage for variant in status.variants):
        own = [variant for variant in status.variants if variant.stage == stage]
        shown = [v for n, v in enumerate(own) if n < _MAX_VARIANTS or v.is_current]
        for number, variant in enumerate(shown):
            mark = " ●" if variant.is_current else ""
            table.add_row(
                "" if number else stage,
                variant.variant_id + mark,
                f"{variant.num_items:,}",
                format_bytes(variant.num_bytes),
                _ago(variant.computed_at),
            )
        if rest := [variant for variant in own if variant not in shown]:
            size = format_bytes(sum(variant.num_bytes for variant in rest))
            table.add_row("", f"and {len(rest)} more", "", size, "")
    return table


def run_table(runs: Sequence[StageRun]) -> Table:
    """Return the last runs that computed something."""
    table = titled_table("Last runs")
    for name in ("started", "stage"):
        table.add_column(name, no_wrap=True)
    for name in ("cached", "computed", "rejected", "time"):
        table.add_column(name, justify="right")
    for run in runs:
        started = datetime.fromtimestamp(run.started_at, UTC).astimezone()
        counts = (run.num_cached, run.num_computed, run.num_rejected)
        table.add_row(
            started.strftime("%m-%d %H:%M"), run.stage,
            *(f"{count:,}" for count in counts),
            format_seconds(run.seconds) + (" failed" if run.failed else ""),
            style="yellow" if run.failed else None,
        )  # fmt: skip
    return table


def rejected_table(status: StoreStatus) -> Table:
    """Return why items are rejected, the most frequent reasons first."""
    table = titled_table("Rejected")
    table.add_column("stage")
    table.add_column("items", justify="right")
    table.add_column("reason", overflow="fold")
    for row in status.rejected[:_MAX_REASONS]:
        table.add_row(row.stage, f"{row.count:,}", row.reason)
    if rest := sum(row.count for row in status.rejected[_MAX_REASONS:]):
        table.add_row("", f"{rest:,}", "other reasons: see `waver rejected`")
    return table


def _ago(seconds: float) -> str:
    return f"{format_seconds(max(0.0, time.time() - seconds))} ago" if seconds else "never"


def status_lines(status: StoreStatus) -> list[str]:
    """Return who works in the store, and the state of its disk."""
    at_work = status.working or ("nobody",)
    lines = [f"At work now: {'; '.join(at_work)}."]
    if any(variant.is_current for variant in status.variants):
        lines.append("● the variants of these settings")
    used = format_bytes(sum(variant.num_bytes for variant in status.variants))
    free = "" if status.free_bytes is None else f", {format_bytes(status.free_bytes)} free"
    return [*lines, f"Store {status.url}: {used} of results{free}."]
