"""What a stage, or a whole run, did: as Markdown for the Prefect UI, without names of videos."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from flows.running.outcome import state_name
from flows.running.stage import StageReport
from storage.records import RejectedRecord
from tasks.ui_artifacts import format_duration, format_rate

_MAX_REASONS = 12
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_COLUMNS = ("expected", "cached", "computed", "rejected", "time", "rate")


def count_reasons(rejected: Iterable[RejectedRecord]) -> tuple[tuple[str, int], ...]:
    """Count rejected items by reason, most frequent first.

    Reasons that differ only in numbers are one, in which N stands for each number.
    """
    counts: Counter[str] = Counter()
    spellings: defaultdict[str, set[str]] = defaultdict(set)
    for row in rejected:
        pattern = _NUMBER.sub("N", row.reason)
        counts[pattern] += 1
        spellings[pattern].add(row.reason)
    return tuple(
        (next(iter(spellings[pattern])) if len(spellings[pattern]) == 1 else pattern, count)
        for pattern, count in counts.most_common()
    )


def stage_summary(report: StageReport) -> str:
    """Describe a finished stage."""
    return "\n".join(
        [
            *_row(*_COLUMNS),
            *_row(*_cells(report, report.unit), is_head=False),
            *_paragraphs(report.headline),
            *_rejected(report),
            *_warnings(report.warnings),
        ]
    )


def run_summary(
    stages: Sequence[str],
    reports: Sequence[StageReport],
    warnings: Sequence[str] = (),
    failure: str | None = None,
) -> str:
    """Describe a run of ``stages`` of which ``reports`` are finished.

    The next one runs, or has failed if ``failure`` states why.
    """
    lines = [f"**{_text(failure)}**", ""] if failure else []
    lines += _row("stage", "state", *_COLUMNS)
    for report in reports:
        lines += _row(report.stage, state_name([report]), *_cells(report), is_head=False)
    states = ["Failed" if failure else "Running", *("" for _ in stages)]
    for stage, state in zip(stages[len(reports) :], states, strict=False):
        lines += _row(stage, state, *("" for _ in _COLUMNS), is_head=False)
    for report in reports:
        lines += _paragraphs(report.headline)
    for report in reports:
        lines += _rejected(report, f" by {report.stage}")
    return "\n".join([*lines, *_warnings(warnings)])


def _cells(report: StageReport, unit: str = "") -> Iterator[str]:
    counts = (report.num_expected, report.num_cached, report.num_computed, report.num_rejected)
    yield from map(str, counts)
    yield format_duration(report.seconds) if report.seconds >= 10 else f"{report.seconds:.1f} s"
    rate = report.num_computed / max(report.seconds, 1e-9)
    yield format_rate(rate, unit) if report.num_computed > 1 else ""


def _row(*cells: str, is_head: bool = True) -> list[str]:
    row = f"| {' | '.join(cells)} |"
    return [row, f"|{'---|' * len(cells)}"] if is_head else [row]


def _paragraphs(lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        yield from ("", line)


def _rejected(report: StageReport, by: str = "") -> Iterator[str]:
    if not report.num_rejected:
        return
    yield from ("", f"**Rejected{by}: {report.rejected_fraction.removesuffix(' rejected')}**", "")
    yield from _row(report.unit, "reason")
    for reason, count in report.reasons[:_MAX_REASONS]:
        yield from _row(str(count), _text(reason), is_head=False)
    if more := sum(count for _, count in report.reasons[_MAX_REASONS:]):
        yield from _row(str(more), "other reasons", is_head=False)
    yield from ("", f"Each with its reason: artifact `{report.stage}-rejected`.")


def _warnings(warnings: Sequence[str]) -> Iterator[str]:
    if warnings:
        yield from ("", "**Warnings**", "")
    for warning in warnings:
        yield f"- {_text(warning)}"


def _text(text: str) -> str:
    """Escape what would end a cell or start markup."""
    return re.sub(r"([|*_<>\[\]])", r"\\\1", text.replace("\n", " "))
