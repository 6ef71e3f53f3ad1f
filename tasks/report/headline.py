"""The main results of a report in a few lines of Markdown, for the Prefect UI."""

from collections.abc import Sequence

from storage.results import MetricRecord, ThresholdRecord, VerdictRecord
from tasks.evaluation.display import (
    METHOD_NAMES,
    METRIC_NAMES,
    REPORT_SPLITS,
    SPLIT_NAMES,
    UNDEFINED,
    format_fraction,
    format_interval,
)
from tasks.report.table import verdict_rows

_METRICS = ("macro_f1", "average_precision")


def headline(
    verdicts: Sequence[VerdictRecord],
    thresholds: Sequence[ThresholdRecord],
    metrics: Sequence[MetricRecord],
) -> tuple[str, str]:
    """Return a table of the verdicts and main metrics by split, and the pooling rule's sentence."""
    rule = next(row for row in thresholds if row.chosen)
    of_rule = [row for row in metrics if row.level == "video" and row.method == rule.method]
    rows = verdict_rows(verdicts)
    return _table(rows, of_rule), _sentence(rule)


def _table(rows: Sequence[dict[str, str | int]], metrics: Sequence[MetricRecord]) -> str:
    """Return a row per split: its counts, and its metrics with their intervals."""
    columns = [*rows[0], *(METRIC_NAMES[name] for name in _METRICS if metrics)]
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    splits = {SPLIT_NAMES[split]: split for split in REPORT_SPLITS}
    for row in rows:
        values = [_metric(name, splits[str(row["split"])], metrics) for name in _METRICS if metrics]
        lines.append(f"| {' | '.join([*map(str, row.values()), *values])} |")
    return "\n".join(lines)


def _metric(name: str, split: str, metrics: Sequence[MetricRecord]) -> str:
    for row in metrics:
        if (row.name, row.split) == (name, split):
            interval = format_interval(row)
            return f"{format_fraction(row.value)}{f' ({interval})' if interval else ''}"
    return UNDEFINED


def _sentence(rule: ThresholdRecord) -> str:
    return (
        f"Verdicts by the pooling rule {METHOD_NAMES[rule.method]} with the threshold "
        f"{format_fraction(rule.threshold)} ({rule.reason})."
    )
