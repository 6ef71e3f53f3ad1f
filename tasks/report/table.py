"""A run's result as tables for terminal and UI: verdicts, metrics, baselines, rejections."""

from collections import Counter
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from storage.records import RejectedRecord
from storage.results import MemberRecord, MetricRecord, ThresholdRecord, VerdictRecord
from tasks.evaluation.baselines import BASELINES
from tasks.evaluation.display import (
    METHOD_NAMES,
    REPORT_SPLITS,
    SPLIT_NAMES,
    UNDEFINED,
    format_fraction,
    format_interval,
)
from tasks.terminal import titled_table

_COLUMNS = {
    "macro_f1": "macro F1",
    "accuracy": "accuracy",
    "f1_present": "F1 A/H",
    "f1_absent": "F1 no A/H",
    "average_precision": "AP",
}
_COUNTS = ("videos", "A/H", "no A/H", "no verdict", "segments without prediction")
_MAX_REASONS = 12


def result_table(
    verdicts: Sequence[VerdictRecord],
    thresholds: Sequence[ThresholdRecord],
    metrics: Sequence[MetricRecord],
    rejected: Sequence[RejectedRecord],
    members: Sequence[MemberRecord] = (),
) -> RenderableType:
    """Return a report's records as tables: the chosen rule's verdicts and metrics, rejections."""
    rule = next(row for row in thresholds if row.chosen)
    chosen = [row for row in verdicts if row.chosen]
    parts: list[RenderableType] = [_verdict_counts(chosen), _rule_line(rule)]
    of_videos = [row for row in metrics if row.level == "video"]
    evaluated = {row.method for row in of_videos}
    methods = [method for method in (rule.method, *BASELINES) if method in evaluated]
    splits = [split for split in REPORT_SPLITS if any(row.split == split for row in of_videos)]
    parts += [_metrics(split, methods, of_videos) for split in splits]
    parts += [_members(split, members) for split in splits if members]
    if not of_videos:
        parts.append(Text("No labels, so there are no metrics.", style="dim"))
    if rejected:
        parts.append(_rejections(rejected))
    return Group(*parts)


def verdict_rows(verdicts: Sequence[VerdictRecord]) -> list[dict[str, str | int]]:
    """Return counts of the chosen rule's verdicts by split, without names of videos."""
    rows: list[dict[str, str | int]] = []
    for split in REPORT_SPLITS:
        of_split = [row for row in verdicts if row.chosen and (row.split or "unsplit") == split]
        if of_split:
            counts = zip(_COUNTS, _counts(of_split), strict=True)
            rows.append({"split": SPLIT_NAMES[split], **dict(counts)})
    return rows


def metric_rows(metrics: Sequence[MetricRecord]) -> list[dict[str, str | int]]:
    """Return a row of formatted metrics for each split, level and method."""
    grouped: dict[tuple[str, str, str], dict[str, MetricRecord]] = {}
    for row in metrics:
        grouped.setdefault((row.split, row.level, row.method), {})[row.name] = row
    order = sorted(grouped, key=lambda key: (REPORT_SPLITS.index(key[0]), key[1] != "video"))
    return [
        {
            "split": SPLIT_NAMES[split],
            "level": level,
            "method": METHOD_NAMES[method],
            "rows": next(iter(grouped[split, level, method].values())).num_rows,
            **{
                title: _format_metric(grouped[split, level, method].get(name))
                for name, title in _COLUMNS.items()
            },
        }
        for split, level, method in order
    ]


def _format_metric(metric: MetricRecord | None) -> str:
    if metric is None:
        return UNDEFINED
    return f"{format_fraction(metric.value)} {format_interval(metric)}".rstrip()


def _counts(verdicts: Sequence[VerdictRecord]) -> tuple[int, ...]:
    counts = Counter(row.verdict for row in verdicts)
    missing = sum(row.num_segments - row.num_predicted for row in verdicts)
    return len(verdicts), counts[1], counts[0], counts[None], missing


def _verdict_counts(verdicts: Sequence[VerdictRecord]) -> Table:
    table = titled_table("Verdicts on videos")
    table.add_column("split")
    for column in _COUNTS:
        table.add_column(column, justify="right")
    for row in verdict_rows(verdicts):
        table.add_row(*map(str, row.values()))
    return table


def _rule_line(rule: ThresholdRecord) -> Text:
    return Text.assemble(
        "Pooling rule ", (METHOD_NAMES[rule.method], "bold"),
        ", threshold ", (format_fraction(rule.threshold), "bold"), f" ({rule.reason}).",
    )  # fmt: skip


def _metrics(split: str, methods: Sequence[str], metrics: Sequence[MetricRecord]) -> Table:
    """Tabulate one split's metrics, each above its interval."""
    cells = {(row.method, row.name): row for row in metrics if row.split == split}
    num_rows = next(iter(cells.values())).num_rows
    table = titled_table(f"Metrics on {SPLIT_NAMES[split]}: {num_rows} labeled videos")
    table.add_column("method", no_wrap=True)
    for column in _COLUMNS.values():
        table.add_column(column, justify="right", no_wrap=True)
    for method in methods:
        row = [cells[method, name] for name in _COLUMNS if (method, name) in cells]
        table.add_row(
            METHOD_NAMES[method],
            *(f"{format_fraction(cell.value)}\n{format_interval(cell)}" for cell in row),
            style="bold" if method == methods[0] else "dim",
        )
    return table


def _members(split: str, members: Sequence[MemberRecord]) -> Table:
    """Tabulate the metrics of each model of an ensemble."""
    table = titled_table(f"Ensemble members on {SPLIT_NAMES[split]}")
    table.add_column("model", overflow="fold")
    for column in ("threshold", "macro F1", "AP"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in members:
        if row.split == split:
            values = (row.threshold, row.macro_f1, row.average_precision)
            table.add_row(escape(row.model), *map(format_fraction, values))
    return table


def _rejections(rejected: Sequence[RejectedRecord]) -> Table:
    table = titled_table(f"Rejected: {len(rejected)}")
    for column in ("video or segment", "stage", "reason"):
        table.add_column(column, overflow="fold")
    for row in rejected[:_MAX_REASONS]:
        table.add_row(escape(row.item_id), row.stage, escape(row.reason))
    if len(rejected) > _MAX_REASONS:
        table.add_row(UNDEFINED, UNDEFINED, f"{len(rejected) - _MAX_REASONS} more, see the report")
    return table
