"""Terminal output of `waver predict`: each video's verdict, then its segments with transcripts."""

from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from tasks.evaluation.display import METHOD_NAMES, UNDEFINED, VERDICT_NAMES, format_fraction
from tasks.prediction.document import (
    PredictedSegment,
    PredictedVideo,
    PredictionDocument,
    VerdictRule,
)

_STYLES = {1: "bold red", 0: "bold green", None: "bold yellow"}


def prediction_table(document: PredictionDocument) -> RenderableType:
    """Return every video's verdict and segments, then the pooling rule and threshold."""
    parts: list[RenderableType] = []
    for video in document.videos:
        parts += _video_parts(video)
    return Group(*parts, _rule_line(document.rule), *_warning_lines(document))


def _video_parts(video: PredictedVideo) -> Iterator[RenderableType]:
    yield _headline(video)
    for warning in video.warnings:
        yield Text(f"  {warning}", style="yellow")
    if video.segments:
        yield _segment_table(video)


def _headline(video: PredictedVideo) -> Text:
    if video.rejected is not None:
        return Text.assemble((f"{video.path}: ", "bold"), ("rejected: ", "yellow"), video.rejected)
    present = None if video.verdict.present is None else int(video.verdict.present)
    return Text.assemble(
        (f"{video.path}: ", "bold"), (VERDICT_NAMES[present], _STYLES[present]), _comparison(video)
    )


def _comparison(video: PredictedVideo) -> str:
    verdict = video.verdict
    if verdict.present is None:
        return ""
    sign = "≥" if verdict.present else "<"
    return f" ({format_fraction(verdict.p_ah)} {sign} {format_fraction(verdict.threshold)})"


def _segment_table(video: PredictedVideo) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("seconds", justify="right", no_wrap=True)
    table.add_column("p(A/H)", justify="right", no_wrap=True)
    table.add_column("transcript", overflow="fold")
    for segment in video.segments:
        text = escape(segment.transcript)
        if segment.rejected is not None:
            text = f"[yellow]{escape(f'rejected: {segment.rejected}')}[/]"
        table.add_row(_times(segment), format_fraction(segment.p_ah), text or UNDEFINED)
    return table


def _times(segment: PredictedSegment) -> str:
    return f"{segment.start_ms / 1000:.1f}–{segment.end_ms / 1000:.1f}"


def _rule_line(rule: VerdictRule) -> Text:
    return Text.assemble(
        "Pooling rule ", (METHOD_NAMES[rule.pooling_rule], "bold"),
        ", threshold ", (format_fraction(rule.threshold), "bold"), f" ({rule.reason}).",
    )  # fmt: skip


def _warning_lines(document: PredictionDocument) -> Iterator[Text]:
    for warning in document.warnings:
        yield Text(warning, style="yellow")
