from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from storage.records import Interval, VideoRecord
from tasks.labels.annotation import locate
from tasks.labels.label_rule import LabelRule, SegmentLabel, label_segment
from tasks.labels.overlap import overlap_ms
from tests.builders import a_video

END_MS = 20_000
times = st.integers(0, END_MS + 2_000)
intervals = st.lists(
    st.builds(
        lambda a, length: Interval(start_ms=a, end_ms=a + length), times, st.integers(1, 9000)
    ),
    min_size=1,
    max_size=6,
)
units = st.sampled_from(["fraction", "ms"])
bounds = st.lists(st.integers(1, 4_000), min_size=2, max_size=2, unique=True).map(sorted)


def labeled_video(label: int | None, intervals: list[Interval]) -> VideoRecord:
    return a_video(label=label, intervals=tuple(intervals))


def a_rule(unit: str, positive_at: float, negative_below: float | None = None, **settings):
    """Build a rule from bounds in milliseconds of a segment of 4 s."""
    scale = 4_000 if unit == "fraction" else 1
    return LabelRule(
        overlap_unit=unit,
        positive_at=positive_at / scale,
        negative_below=None if negative_below is None else negative_below / scale,
        **settings,
    )


def labels_of(video: VideoRecord, rule: LabelRule) -> list[SegmentLabel]:
    """Label five segments of 4 s."""
    annotation = locate(video, END_MS)
    found = []
    for start, end in pairwise(range(0, END_MS + 1, 4_000)):
        covered = overlap_ms(start, end, annotation.intervals)
        found.append(
            label_segment(
                annotation, overlap_ms=covered, overlap_fraction=covered / 4_000, rule=rule
            )
        )
    return found


def a_label(rule: LabelRule, covered_ms: int) -> SegmentLabel:
    """Label one segment of 4 s with ``covered_ms`` of overlap."""
    annotation = locate(labeled_video(1, [Interval(start_ms=0, end_ms=9)]), END_MS)
    return label_segment(
        annotation, overlap_ms=covered_ms, overlap_fraction=covered_ms / 4_000, rule=rule
    )


@pytest.mark.parametrize("unit", ["fraction", "ms"])
@pytest.mark.parametrize(
    ("covered_ms", "label", "in_band"),
    [
        (0, 0, False), (999, 0, False), (1_000, 0, True), (1_999, 0, True), (2_000, 1, False),
        (4_000, 1, False),
    ],
)  # fmt: skip
def test_ignore_band_includes_its_lower_bound_and_excludes_the_upper(
    unit, covered_ms, label, in_band
):
    found = a_label(a_rule(unit, 2_000, 1_000), covered_ms)
    assert found == SegmentLabel(label=label, source="intervals", in_ignore_band=in_band)
    without_band = a_label(a_rule(unit, 2_000), covered_ms)
    assert without_band == SegmentLabel(label=label, source="intervals")


def test_milliseconds_require_the_same_of_short_and_long_segments():
    annotation = locate(labeled_video(1, [Interval(start_ms=0, end_ms=500)]), END_MS)
    rule = LabelRule(overlap_unit="ms", positive_at=500)
    for fraction in (0.1, 1.0):
        found = label_segment(annotation, overlap_ms=500, overlap_fraction=fraction, rule=rule)
        assert found.label == 1


@pytest.mark.parametrize(
    ("video", "unannotated_positive", "label", "source"),
    [
        (labeled_video(0, []), "video", 0, "intervals"),
        (labeled_video(0, []), "unlabeled", 0, "intervals"),
        (labeled_video(1, []), "video", 1, "video"),
        (labeled_video(1, []), "unlabeled", None, None),
        (labeled_video(None, []), "video", None, None),
        (labeled_video(0, [Interval(start_ms=0, end_ms=9)]), "video", None, None),
        (labeled_video(1, [Interval(start_ms=END_MS, end_ms=END_MS + 9)]), "video", None, None),
        (labeled_video(None, [Interval(start_ms=0, end_ms=END_MS)]), "video", 1, "intervals"),
    ],
)
def test_source_of_a_label_is_recorded_and_contradictions_have_no_label(
    video, unannotated_positive, label, source
):
    found = labels_of(video, LabelRule(unannotated_positive=unannotated_positive))
    assert found == [SegmentLabel(label=label, source=source)] * 5


@given(intervals, st.randoms(use_true_random=False), units, bounds, st.data())
def test_order_and_division_of_intervals_do_not_matter(found, rng, unit, band, data):
    rule = a_rule(unit, band[1], band[0])
    split_at = data.draw(st.integers(0, len(found) - 1))
    whole = found[split_at]
    middle = data.draw(st.integers(whole.start_ms, whole.end_ms))
    halves = [replace(whole, end_ms=middle), replace(whole, start_ms=middle)]
    rewritten = [*found[:split_at], *halves, *found[split_at + 1 :]]
    rewritten = [interval for interval in rewritten if interval.start_ms < interval.end_ms]
    before = labels_of(labeled_video(1, found), rule)
    assert labels_of(labeled_video(1, rng.sample(rewritten, len(rewritten))), rule) == before


@given(st.lists(st.integers(0, 4_000), min_size=2, max_size=2), units, bounds)
def test_more_overlap_never_removes_a_positive_label(covered, unit, band):
    rule = a_rule(unit, band[1], band[0])
    low, high = (a_label(rule, ms).label for ms in sorted(covered))
    assert low <= high


@given(st.integers(0, 4_000), units, bounds)
def test_higher_threshold_never_makes_a_segment_positive(covered, unit, thresholds):
    low, high = (a_label(a_rule(unit, at), covered).label for at in thresholds)
    assert high <= low


@given(
    st.integers(0, 4_000),
    units,
    st.lists(st.integers(1, 4_000), min_size=3, max_size=3, unique=True),
)
def test_wider_ignore_band_only_adds_segments_and_never_changes_a_label(covered, unit, bounds):
    low, lower_middle, high = sorted(bounds)
    wide, narrow = (a_label(a_rule(unit, high, below), covered) for below in (low, lower_middle))
    assert wide.in_ignore_band >= narrow.in_ignore_band
    assert wide.label == narrow.label == a_label(a_rule(unit, high), covered).label


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"positive_at": 0}, "greater than 0"),
        ({"positive_at": 1.01}, "not a fraction in .* set overlap_unit to ms"),
        ({"positive_at": 500}, "not a fraction in .* set overlap_unit to ms"),
        ({"overlap_unit": "ms"}, "positive_at 0.5 is not a whole number of milliseconds"),
        ({"negative_below": 0}, "greater than 0"),
        ({"negative_below": 0.5}, "negative_below 0.5 must be less than positive_at 0.5"),
        ({"overlap_unit": "ms", "positive_at": 9, "negative_below": 1.5}, "1.5 is not a whole"),
        ({"overlap_unit": "seconds"}, "'fraction' or 'ms'"),
        ({"unannotated_positive": "guess"}, "'video' or 'unlabeled'"),
    ],
)
def test_invalid_bounds_are_rejected_with_what_was_expected(settings, message):
    with pytest.raises(ValidationError, match=message):
        LabelRule(**settings)
