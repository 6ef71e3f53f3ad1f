"""Terminal output of an audit: counts by split, findings, and what was not examined."""

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from storage.results import AuditRecord
from tasks.audit.counts import QUESTIONS
from tasks.audit.findings import EXAMPLE_SEPARATOR
from tasks.terminal import titled_table

_UNKNOWN = "—"
_INVALIDATES, _MINOR = "✗", "·"
_COUNT_WIDTH = 5
_INDENT = " " * 4
_NUM_EXAMPLES, _NUM_NAMES = 3, 12  # on the screen; the table of `--out` has all of them
_ROWS: Mapping[str, Sequence[tuple[str, tuple[str, ...]]]] = {
    "": (
        ("videos", ("videos",)),
        ("participants", ("participants",)),
        ("of unknown participants", ("participant_unknown",)),
        ("hours", ("hours",)),
        ("A/H hours", ("ah_hours",)),
        ("hours of withheld labels", ("withheld_hours",)),
        ("A/H fraction of labeled hours", ("ah_fraction",)),
        ("labeled videos", ("labeled",)),
        ("labeled A/H", ("positive",)),
        ("A/H fraction of labeled videos", ("positive_fraction",)),
    ),
    "videos by question": (
        *((f"question {question}", (f"question_{question}",)) for question in QUESTIONS),
        ("other or unknown", ("question_other",)),
    ),
    "consent: yes / no / unknown": tuple(
        (f"use in {use}", tuple(f"{use}_{answer}" for answer in ("yes", "no", "unknown")))
        for use in ("publications", "challenges")
    ),
}
_HIDDEN_IF_ZERO = ("participant_unknown", "question_other", "withheld_hours")


def audit_table(name: str, records: Sequence[AuditRecord]) -> RenderableType:
    """Render a data set's audit: counts by split, findings by kind, what was not examined.

    Video names are not wrapped, so that they can be copied: print with ``crop=False``.
    """
    parts: list[RenderableType] = [_counts(name, [r for r in records if r.subject == "count"])]
    findings = [record for record in records if record.subject == "finding"]
    if findings:
        parts.append(_findings(findings))
    for record in records:
        if record.subject == "not examined":
            parts.append(Text(f"Not examined: {record.meaning}", style="dim"))
    return Group(*parts, _outcome(findings))


def _counts(name: str, records: Sequence[AuditRecord]) -> Table:
    values = {(record.split, record.name): record.value for record in records}
    splits = list(dict.fromkeys(record.split for record in records))
    table = titled_table(Text(f"The data set {name}"))
    table.add_column("", no_wrap=True)
    for split in splits:
        table.add_column("all" if split is None else split, justify="right", no_wrap=True)
    for title, rows in _ROWS.items():
        table.add_section()
        if title:
            table.add_row(Text(title, style="bold"))
        for row_name, measures in rows:
            if measures[0] in _HIDDEN_IF_ZERO and not values[None, measures[0]]:
                continue
            cells = (
                "/".join(_format_value(m, values[split, m]) for m in measures) for split in splits
            )
            table.add_row(row_name, *cells)
    return table


def _format_value(measure: str, value: float | None) -> str:
    if value is None:
        return _UNKNOWN
    if measure.endswith("hours"):
        return f"{value:.3f}" if value < 1 else f"{value:.2f}"
    return f"{100 * value:.1f} %" if measure.endswith("fraction") else f"{value:.0f}"


def _findings(findings: Sequence[AuditRecord]) -> RenderableType:
    """List findings, with some examples on lines of their own that may be wider than the screen."""
    parts: list[RenderableType] = [Text("Findings, with the number of examples\n", style="bold")]
    for row in findings:
        head = Table.grid(padding=(0, 1))
        head.add_column(width=1)
        head.add_column(width=_COUNT_WIDTH, justify="right")
        head.add_column()
        mark = Text(_INVALIDATES, style="bold red") if row.invalidates else Text(_MINOR)
        description = Text.assemble((row.name, "bold"), f": {row.meaning}")
        head.add_row(mark, _format_value(row.name, row.value), description)
        parts.append(head)
        lines = [_lines_of(example) for example in row.examples[:_NUM_EXAMPLES]]
        if num_more := len(row.examples) - len(lines):
            lines.append(f"{_INDENT}and {num_more} more: `--out FILE.parquet` writes all of them")
        parts += [Text(line, style="dim", no_wrap=True, overflow="ignore") for line in lines]
    return Group(*parts, "")


def _lines_of(example: str) -> str:
    """Format an example with a name a line."""
    names = example.split(EXAMPLE_SEPARATOR)
    shown = names[:_NUM_NAMES]
    if num_more := len(names) - len(shown):
        shown.append(f"{num_more} more")
    return _INDENT + f" +\n{_INDENT}".join(shown)


def _outcome(findings: Sequence[AuditRecord]) -> Text:
    num_invalidating = sum(record.invalidates for record in findings)
    if not num_invalidating:
        return Text("No problem found that makes results untrustworthy.", style="green")
    kinds = "kind of problem makes" if num_invalidating == 1 else "kinds of problems make"
    return Text(
        f"{num_invalidating} {kinds} results untrustworthy: see {_INVALIDATES} above.", style="red"
    )
