"""`waver plan --estimate`: what hours of video cost, as a table or as JSON."""

import json

from rich.console import Console
from rich.table import Table

from flows.planning.capacity import MAX_HOURS, TRAINING, Capacity, StageCost, estimate_capacity
from flows.planning.units import format_bytes, format_seconds
from storage.errors import ConfigError
from storage.schema import to_plain
from storage.store.journal import read_runs
from storage.store.store import Store
from tasks.terminal import titled_table

_NUM_RECORDS = 20  # of each stage that the rates are taken from


def show_estimate(store_url: str, hours: float, *, as_json: bool) -> None:
    """Print what hours of video cost by the rates of a store's journal; writes nothing.

    Raises:
        ConfigError: the hours are not above 0 and at most 10 million.
    """
    if not 0 < hours <= MAX_HOURS:
        raise ConfigError(
            f"--estimate is {hours!r} hours: expected more than 0 and at most {MAX_HOURS:,.0f}."
        )
    runs = read_runs(Store(store_url, read_only=True), per_stage=_NUM_RECORDS)
    capacity = estimate_capacity(runs, hours)
    if as_json:
        print(json.dumps(to_plain(capacity), indent=2))  # noqa: T201 - the document itself
        return
    console = Console()
    console.print(capacity_table(capacity))
    for line in capacity_notes(capacity):
        console.print(line, highlight=False, style="dim")


def capacity_table(capacity: Capacity) -> Table:
    """Return the rates and costs of every stage, and their total."""
    table = titled_table(f"{capacity.hours:,.10g} hours of video", show_footer=True)
    total = (capacity.cpu_seconds, capacity.gpu_seconds, capacity.num_bytes)
    times = (*map(format_seconds, total[:2]), format_bytes(total[2]))
    at_least = "≥ " if capacity.unknown else ""
    table.add_column("stage", footer="total")
    for name in ("CPU s/h", "GPU s/h", "disk/h"):
        table.add_column(name, justify="right")
    for name, footer in zip(("CPU", "GPU", "disk"), times, strict=True):
        is_open = any(text.startswith(name) for text in capacity.unknown)
        table.add_column(name, footer=f"{at_least if is_open else ''}{footer}", justify="right")
    for cost in capacity.stages:
        table.add_row(*_row(cost), style="dim" if cost.stage == TRAINING else None)
    return table


def _row(cost: StageCost) -> tuple[str, ...]:
    rate = cost.rate
    name = cost.stage + ("¹" if cost.stage == TRAINING else "") + ("*" if cost.is_reference else "")
    return (
        name,
        _number(rate.cpu_seconds),
        _number(rate.gpu_seconds),
        format_bytes(rate.num_bytes),
        format_seconds(cost.cpu_seconds),
        format_seconds(cost.gpu_seconds),
        format_bytes(cost.num_bytes),
    )


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def capacity_notes(capacity: Capacity) -> list[str]:
    """Return what the table's numbers rest on, a line each."""
    stages_by_source: dict[tuple[bool, str], list[str]] = {}
    for cost in capacity.stages:
        key = cost.is_reference, cost.rate.source
        stages_by_source.setdefault(key, []).append(cost.stage)
    unknown = ", ".join(capacity.unknown)
    return [
        *(
            f"{'*' if is_reference else ' '} {', '.join(stages)}: {source}"
            for (is_reference, source), stages in stages_by_source.items()
        ),
        "¹ for each hour of its training video, once per model; not in the total",
        *([f"unknown, and not in the total: {unknown}"] if unknown else []),
    ]
