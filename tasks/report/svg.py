"""Small pictures for the report, as inline SVG that takes its colours from the page's style."""

from collections.abc import Iterable, Sequence

import numpy as np
from markupsafe import Markup

from storage.records import Interval
from storage.results import MetricRecord
from tasks.evaluation.display import seconds, share
from tasks.evaluation.rows import EvaluatedSegment
from tasks.evaluation.thresholds import Steps

_STRIP_WIDTH, _BAR_HEIGHT, _STRIP_HEIGHT = 260.0, 20.0, 27.0
_RANGE_WIDTH, _RANGE_HEIGHT = 96.0, 14.0
_CURVE_WIDTH, _CURVE_HEIGHT, _CURVE_LEFT, _CURVE_RIGHT, _RUG_HEIGHT = 640.0, 150.0, 34.0, 16.0, 26.0


def timeline(
    segments: Sequence[EvaluatedSegment], annotated: Iterable[Interval], longest_ms: int
) -> Markup:
    """Draw a video's segments as bars of height ``p_ah``, annotated A/H as a line below.

    ``longest_ms`` is what the full width stands for. A missing prediction is an empty dashed box.
    """
    scale = _STRIP_WIDTH / max(longest_ms, 1)
    boxes = [_segment_box(segment, scale) for segment in segments]
    lines = [
        f'<rect class="annotated" x="{span.start_ms * scale:.1f}" y="{_BAR_HEIGHT + 3}" '
        f'width="{(span.end_ms - span.start_ms) * scale:.1f}" height="3.5" rx="1.75">'
        f"<title>annotated {seconds(span.start_ms)} to {seconds(span.end_ms)}</title></rect>"
        for span in annotated
    ]
    return _svg(_STRIP_WIDTH, _STRIP_HEIGHT, "timeline", [*boxes, *lines])


def _segment_box(segment: EvaluatedSegment, scale: float) -> str:
    left = segment.start_ms * scale + 0.5
    width = max((segment.end_ms - segment.start_ms) * scale - 1, 1)
    time = f"{seconds(segment.start_ms)} to {seconds(segment.end_ms)}"
    if segment.p_ah is None:
        return (
            f'<rect class="missing" x="{left + 0.5:.1f}" y="0.5" width="{max(width - 1, 1):.1f}" '
            f'height="{_BAR_HEIGHT - 1}"><title>{time}: no prediction</title></rect>'
        )
    height = segment.p_ah * _BAR_HEIGHT
    return (
        f"<g><title>{time}: {share(segment.p_ah)}</title>"
        f'<rect class="ground" x="{left:.1f}" y="0" width="{width:.1f}" height="{_BAR_HEIGHT}"/>'
        f'<rect class="bar" x="{left:.1f}" y="{_BAR_HEIGHT - height:.1f}" width="{width:.1f}" '
        f'height="{height:.1f}"/></g>'
    )


def figure_range(metric: MetricRecord | None) -> Markup:
    """Draw a figure as a dot on the line from 0 to 1, its interval as a bar around it."""
    if metric is None or metric.value is None:
        return Markup()
    middle, inner = _RANGE_HEIGHT / 2, _RANGE_WIDTH - 8
    parts = [
        f'<line class="axis" x1="4" x2="{_RANGE_WIDTH - 4}" y1="{middle}" y2="{middle}"/>',
        f'<line class="axis" x1="{4 + inner / 2}" x2="{4 + inner / 2}" y1="3" y2="11"/>',
    ]
    if metric.low is not None and metric.high is not None:
        parts.append(
            f'<line class="interval" x1="{4 + metric.low * inner:.1f}" '
            f'x2="{4 + metric.high * inner:.1f}" y1="{middle}" y2="{middle}"/>'
        )
    parts.append(f'<circle class="dot" cx="{4 + metric.value * inner:.1f}" cy="{middle}" r="3.5"/>')
    return _svg(_RANGE_WIDTH, _RANGE_HEIGHT, "range", parts)


def threshold_curve(
    steps: Steps, threshold: float, low: float | None, high: float | None,
    positives: Sequence[float], negatives: Sequence[float],
) -> Markup:  # fmt: skip
    """Draw the score over the threshold, the near-best range, and the probabilities below."""
    parts = _curve_frame()
    if low is not None and high is not None:
        parts.append(
            f'<rect class="near-best" x="{_at(low):.1f}" y="8" '
            f'width="{_at(high) - _at(low):.1f}" height="{_CURVE_HEIGHT}"/>'
        )
    corners = [
        f"{_at(x):.1f},{_up(score):.1f}"
        for left, right, score in zip(steps.lows, steps.highs, steps.scores, strict=True)
        for x in (left, right)
    ]
    parts.append(f'<polyline class="curve" points="{" ".join(corners)}"/>')
    parts.append(
        f'<line class="chosen" x1="{_at(threshold):.1f}" x2="{_at(threshold):.1f}" '
        f'y1="8" y2="{_CURVE_HEIGHT + 8}"/>'
    )
    for row, (kind, values) in enumerate((("present", positives), ("absent", negatives))):
        y = _CURVE_HEIGHT + 34 + row * _RUG_HEIGHT / 2
        parts += [
            f'<circle class="{kind}" cx="{_at(value):.1f}" cy="{y}" r="3.5"/>' for value in values
        ]
    return _svg(_CURVE_WIDTH, _CURVE_HEIGHT + 38 + _RUG_HEIGHT, "threshold", parts)


def _curve_frame() -> list[str]:
    parts = []
    for tick in np.linspace(0, 1, 5):
        parts.append(
            f'<line class="axis" x1="{_CURVE_LEFT}" x2="{_CURVE_WIDTH - _CURVE_RIGHT}" '
            f'y1="{_up(tick):.1f}" y2="{_up(tick):.1f}"/>'
            f'<text class="tick" x="{_CURVE_LEFT - 6}" y="{_up(tick) + 3.5:.1f}" '
            f'text-anchor="end">{share(tick, 2)}</text>'
            f'<text class="tick" x="{_at(tick):.1f}" y="{_CURVE_HEIGHT + 23}" '
            f'text-anchor="middle">{share(tick, 2)}</text>'
        )
    return parts


def _at(probability: float) -> float:
    return _CURVE_LEFT + probability * (_CURVE_WIDTH - _CURVE_LEFT - _CURVE_RIGHT)


def _up(score: float) -> float:
    return 8 + (1 - score) * _CURVE_HEIGHT


def _svg(width: float, height: float, name: str, parts: Iterable[str]) -> Markup:
    """Wrap parts that hold numbers only: nothing of them comes from outside."""
    return Markup(
        f'<svg class="{name}" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" role="img" aria-label="{name}">{"".join(parts)}</svg>'
    )
