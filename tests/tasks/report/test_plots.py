from xml.etree import ElementTree

import numpy as np
import pytest

from storage.records import Interval
from tasks.evaluation.rows import EvaluatedSegment
from tasks.evaluation.thresholds import score_steps
from tasks.report.plots import metric_range, threshold_curve, timeline
from tests.builders import a_metric


def segment(start_ms: int, end_ms: int, p_ah: float | None) -> EvaluatedSegment:
    return EvaluatedSegment(
        row_id="a.mp4#0000",
        video_id="a.mp4",
        participant_id=None,
        split="test",
        question=None,
        duration_ms=end_ms - start_ms,
        label=None,
        start_ms=start_ms,
        end_ms=end_ms,
        p_ah=p_ah,
    )


def elements(svg: str, name: str) -> list[ElementTree.Element]:
    return [part for part in ElementTree.fromstring(svg).iter() if part.get("class") == name]


def test_the_height_of_a_bar_is_its_probability() -> None:
    svg = timeline([segment(0, 4_000, 0.25), segment(4_000, 8_000, 1.0)], (), 8_000)
    (ground, _), (low, high) = elements(svg, "ground"), elements(svg, "bar")
    whole = float(ground.get("height"))
    assert float(low.get("height")) == pytest.approx(0.25 * whole)
    assert float(high.get("height")) == pytest.approx(whole)


def test_a_missing_prediction_is_plotted_as_missing_and_not_as_zero() -> None:
    svg = timeline([segment(0, 4_000, None), segment(4_000, 8_000, 0.0)], (), 8_000)
    assert len(elements(svg, "missing")) == 1
    assert len(elements(svg, "bar")) == 1
    assert "no prediction" in svg


def test_annotated_intervals_are_aligned_below_their_segments() -> None:
    spans = (Interval(start_ms=4_000, end_ms=8_000),)
    svg = timeline([segment(0, 4_000, 0.1), segment(4_000, 8_000, 0.9)], spans, 16_000)
    (mark,), (_, second) = elements(svg, "annotated"), elements(svg, "ground")
    assert float(mark.get("x")) == pytest.approx(float(second.get("x")), abs=1)
    assert float(mark.get("width")) == pytest.approx(float(second.get("width")), abs=1.5)
    assert float(mark.get("y")) > float(second.get("height"))


def test_an_undefined_metric_is_not_plotted_and_one_without_interval_has_no_bar() -> None:
    assert metric_range(None) == metric_range(a_metric(None)) == ""
    assert elements(metric_range(a_metric(0.5)), "interval") == []
    assert len(elements(metric_range(a_metric(0.5, low=0.4, high=0.6)), "interval")) == 1


def test_the_curve_shows_every_validation_row_and_the_threshold() -> None:
    labels, p_ah = np.array([0.0, 0.0, 1.0]), np.array([0.1, 0.2, 0.9])
    svg = threshold_curve(
        score_steps(labels, p_ah, "macro_f1"), 0.55, 0.2, 0.9, positives=[0.9], negatives=[0.1, 0.2]
    )
    assert len(elements(svg, "present")) == 1
    assert len(elements(svg, "absent")) == 2
    assert len(elements(svg, "near-best")) == len(elements(svg, "chosen")) == 1
