"""The answer of `waver predict` for a person at a terminal: a verdict, then what was said when."""

from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from tasks.evaluation.display import METHOD_NAMES, UNDEFINED, VERDICT_NAMES, format_fraction
from tasks.prediction.document import PredictedSegment, PredictedVideo, PredictionDocument, Rule

_STYLES = {1: "bold red", 0: "bold green", None: "bold yellow"}


def prediction_table(predicted: PredictionDocument) -> RenderableType:
    """Show every video's verdict and segments, then the rule by which verdicts were made."""
    parts: list[RenderableType] = []
    for video in predicted.videos:
        parts += _parts_of(video)
    return Group(*parts, _rule_line(predicted.rule), *_warning_lines(predicted))


def _parts_of(video: PredictedVideo) -> Iterator[RenderableType]:
    yield _headline(video)
    for warning in video.warnings:
        yield Text(f"  {warning}", style="yellow")
    if video.segments:
        yield _segments_of(video)


def _headline(video: PredictedVideo) -> Text:
    if video.rejected is not None:
        return Text.assemble((f"{video.path}: ", "bold"), ("rejected: ", "yellow"), video.rejected)
    present = None if video.verdict.present is None else int(video.verdict.present)
    return Text.assemble(
        (f"{video.path}: ", "bold"), (VERDICT_NAMES[present], _STYLES[present]), _compared(video)
    )


def _compared(video: PredictedVideo) -> str:
    verdict = video.verdict
    if verdict.present is None:
        return ""
    sign = "≥" if verdict.present else "<"
    return f" ({format_fraction(verdict.p_ah)} {sign} {format_fraction(verdict.threshold)})"


def _segments_of(video: PredictedVideo) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("seconds", justify="right", no_wrap=True)
    table.add_column("p(A/H)", justify="right", no_wrap=True)
    table.add_column("transcript", overflow="fold")
    for segment in video.segments:
        words = (
            escape(segment.transcript)
            if segment.rejected is None
            else f"[yellow]{_why(segment)}[/]"
        )
        table.add_row(_times(segment), format_fraction(segment.p_ah), words or UNDEFINED)
    return table


def _why(segment: PredictedSegment) -> str:
    return escape(f"rejected: {segment.rejected}")


def _times(segment: PredictedSegment) -> str:
    return f"{segment.start_ms / 1000:.1f}–{segment.end_ms / 1000:.1f}"


def _rule_line(rule: Rule) -> Text:
    return Text.assemble(
        "Pooling rule ", (METHOD_NAMES[rule.pooling_rule], "bold"),
        ", threshold ", (format_fraction(rule.threshold), "bold"), f" ({rule.reason}).",
    )  # fmt: skip


def _warning_lines(predicted: PredictionDocument) -> Iterator[Text]:
    for warning in predicted.warnings:
        yield Text(warning, style="yellow")
