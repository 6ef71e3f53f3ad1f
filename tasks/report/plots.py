"""The report's plots, as inline SVG that takes its colors from the page's style sheet."""

from collections.abc import Iterable, Sequence

import numpy as np
from markupsafe import Markup

from storage.records import Interval
from storage.results import MetricRecord
from tasks import svg
from tasks.evaluation.display import format_fraction, format_seconds
from tasks.evaluation.rows import EvaluatedSegment
from tasks.evaluation.thresholds import ScoreSteps

_TIMELINE_WIDTH, _BAR_HEIGHT, _TIMELINE_HEIGHT = 260.0, 20.0, 27.0
_RANGE_WIDTH, _RANGE_HEIGHT, _RANGE_MARGIN = 96.0, 14.0, 4.0
_CURVE_WIDTH, _CURVE_HEIGHT, _CURVE_LEFT, _CURVE_RIGHT, _CURVE_TOP = 640.0, 150.0, 34.0, 16.0, 8.0
_RUG_HEIGHT = 26.0


def timeline(
    segments: Sequence[EvaluatedSegment], annotated: Iterable[Interval], longest_ms: int
) -> Markup:
    """Draw a video's segments as bars of height ``p_ah``, above a line of the annotated A/H.

    The full width is ``longest_ms``. A missing prediction is an empty dashed box.
    """
    scale = _TIMELINE_WIDTH / max(longest_ms, 1)
    return _plot(
        "timeline",
        "p(A/H) of each segment over time",
        _TIMELINE_WIDTH,
        _TIMELINE_HEIGHT,
        [
            *(_segment_box(segment, scale) for segment in segments),
            *(_annotation(interval, scale) for interval in annotated),
        ],
    )


def _segment_box(segment: EvaluatedSegment, scale: float) -> Markup:
    left = segment.start_ms * scale + 0.5
    width = max((segment.end_ms - segment.start_ms) * scale - 1, 1.0)
    time = f"{format_seconds(segment.start_ms)} to {format_seconds(segment.end_ms)}"
    if segment.p_ah is None:
        return svg.element(
            "rect", svg.element("title", f"{time}: no prediction"), class_="missing",
            x=left + 0.5, y=0.5, width=max(width - 1, 1.0), height=_BAR_HEIGHT - 1,
        )  # fmt: skip
    height = segment.p_ah * _BAR_HEIGHT
    return svg.element(
        "g",
        svg.element("title", f"{time}: {format_fraction(segment.p_ah)}"),
        svg.element("rect", class_="ground", x=left, y=0, width=width, height=_BAR_HEIGHT),
        svg.element(
            "rect", class_="bar", x=left, y=_BAR_HEIGHT - height, width=width, height=height
        ),
    )


def _annotation(interval: Interval, scale: float) -> Markup:
    times = f"{format_seconds(interval.start_ms)} to {format_seconds(interval.end_ms)}"
    return svg.element(
        "rect", svg.element("title", f"annotated {times}"), class_="annotated",
        x=interval.start_ms * scale, y=_BAR_HEIGHT + 3,
        width=(interval.end_ms - interval.start_ms) * scale, height=3.5, rx="1.75",
    )  # fmt: skip


def metric_range(metric: MetricRecord | None) -> Markup:
    """Draw a metric as a dot on a line from 0 to 1, with its interval as a bar around it."""
    if metric is None or metric.value is None:
        return Markup()
    middle, inner = _RANGE_HEIGHT / 2, _RANGE_WIDTH - 2 * _RANGE_MARGIN

    def x(value: float) -> float:
        return _RANGE_MARGIN + value * inner

    parts = [
        svg.line(x(0), middle, x(1), middle, class_="axis"),
        svg.line(x(0.5), 3, x(0.5), 11, class_="axis"),
    ]
    if metric.low is not None and metric.high is not None:
        parts.append(svg.line(x(metric.low), middle, x(metric.high), middle, class_="interval"))
    parts.append(svg.element("circle", class_="dot", cx=x(metric.value), cy=middle, r=3.5))
    return _plot("range", format_fraction(metric.value), _RANGE_WIDTH, _RANGE_HEIGHT, parts)


def threshold_curve(
    steps: ScoreSteps, threshold: float, low: float | None, high: float | None,
    positives: Sequence[float], negatives: Sequence[float],
) -> Markup:  # fmt: skip
    """Draw the score over the threshold with its near-best range, and the probabilities below."""
    parts = _curve_axes()
    if low is not None and high is not None:
        parts.append(
            svg.element(
                "rect", class_="near-best", x=_curve_x(low), y=_CURVE_TOP,
                width=_curve_x(high) - _curve_x(low), height=_CURVE_HEIGHT,
            )
        )  # fmt: skip
    corners = [
        (_curve_x(x), _curve_y(score))
        for left, right, score in zip(steps.lows, steps.highs, steps.scores, strict=True)
        for x in (left, right)
    ]
    parts.append(svg.polyline(corners, class_="curve"))
    x = _curve_x(threshold)
    parts.append(svg.line(x, _CURVE_TOP, x, _CURVE_TOP + _CURVE_HEIGHT, class_="chosen"))
    for row, (kind, values) in enumerate((("present", positives), ("absent", negatives))):
        y = _CURVE_HEIGHT + 34 + row * _RUG_HEIGHT / 2
        parts += [
            svg.element("circle", class_=kind, cx=_curve_x(value), cy=y, r=3.5) for value in values
        ]
    height = _CURVE_HEIGHT + 38 + _RUG_HEIGHT
    return _plot("threshold", "validation score over the threshold", _CURVE_WIDTH, height, parts)


def _curve_axes() -> list[Markup]:
    parts = []
    for tick in np.linspace(0, 1, 5):
        x, y, label = _curve_x(tick), _curve_y(tick), format_fraction(tick, 2)
        parts += [
            svg.line(_CURVE_LEFT, y, _CURVE_WIDTH - _CURVE_RIGHT, y, class_="axis"),
            _tick(label, _CURVE_LEFT - 6, y + 3.5, "end"),
            _tick(label, x, _CURVE_HEIGHT + 23, "middle"),
        ]
    return parts


def _tick(label: str, x: float, y: float, anchor: str) -> Markup:
    return svg.element("text", label, class_="tick", x=x, y=y, text_anchor=anchor)


def _curve_x(probability: float) -> float:
    return _CURVE_LEFT + probability * (_CURVE_WIDTH - _CURVE_LEFT - _CURVE_RIGHT)


def _curve_y(score: float) -> float:
    return _CURVE_TOP + (1 - score) * _CURVE_HEIGHT


def _plot(name: str, label: str, width: float, height: float, parts: Iterable[Markup]) -> Markup:
    return svg.image(width, height, *parts, class_=name, role="img", aria_label=label)
