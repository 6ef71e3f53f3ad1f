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
units = st.sampled_from(["share", "ms"])
bounds = st.lists(st.integers(1, 4_000), min_size=2, max_size=2, unique=True).map(sorted)


def labeled_video(label: int | None, intervals: list[Interval]) -> VideoRecord:
    return a_video(label=label, intervals=tuple(intervals))


def a_rule(unit: str, positive_at: float, negative_below: float | None = None, **settings):
    """Bounds are given in milliseconds of a segment of 4 s."""
    scale = 4_000 if unit == "share" else 1
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
    """Label one segment of 4 s of which this much is covered."""
    annotation = locate(labeled_video(1, [Interval(start_ms=0, end_ms=9)]), END_MS)
    return label_segment(
        annotation, overlap_ms=covered_ms, overlap_fraction=covered_ms / 4_000, rule=rule
    )


@pytest.mark.parametrize("unit", ["share", "ms"])
@pytest.mark.parametrize(
    ("covered_ms", "label", "clear"),
    [
        (0, 0, True), (999, 0, True), (1_000, 0, False), (1_999, 0, False), (2_000, 1, True),
        (4_000, 1, True),
    ],
)  # fmt: skip
def test_the_band_runs_from_its_lower_bound_to_just_below_the_upper(unit, covered_ms, label, clear):
    found = a_label(a_rule(unit, 2_000, 1_000), covered_ms)
    assert found == SegmentLabel(label=label, source="intervals", clear=clear)
    without_band = a_label(a_rule(unit, 2_000), covered_ms)
    assert without_band == SegmentLabel(label=label, source="intervals", clear=True)


def test_milliseconds_ask_for_the_same_of_short_and_long_segments():
    annotation = locate(labeled_video(1, [Interval(start_ms=0, end_ms=500)]), END_MS)
    rule = LabelRule(overlap_unit="ms", positive_at=500)
    for share in (0.1, 1.0):
        found = label_segment(annotation, overlap_ms=500, overlap_fraction=share, rule=rule)
        assert found.label == 1


@pytest.mark.parametrize(
    ("video", "unannotated_positive", "label", "source"),
    [
        (labeled_video(0, []), "video", 0, "intervals"),
        (labeled_video(0, []), "unlabelled", 0, "intervals"),
        (labeled_video(1, []), "video", 1, "video"),
        (labeled_video(1, []), "unlabelled", None, None),
        (labeled_video(None, []), "video", None, None),
        (labeled_video(0, [Interval(start_ms=0, end_ms=9)]), "video", None, None),
        (labeled_video(1, [Interval(start_ms=END_MS, end_ms=END_MS + 9)]), "video", None, None),
        (labeled_video(None, [Interval(start_ms=0, end_ms=END_MS)]), "video", 1, "intervals"),
    ],
)
def test_what_a_label_stands_on_is_marked_and_contradictions_have_none(
    video, unannotated_positive, label, source
):
    found = labels_of(video, LabelRule(unannotated_positive=unannotated_positive))
    assert found == [SegmentLabel(label=label, source=source)] * 5


@given(intervals, st.randoms(use_true_random=False), units, bounds, st.data())
def test_labels_depend_neither_on_the_order_of_intervals_nor_on_one_being_written_as_two(
    found, dice, unit, band, data
):
    rule = a_rule(unit, band[1], band[0])
    torn = data.draw(st.integers(0, len(found) - 1))
    whole = found[torn]
    middle = data.draw(st.integers(whole.start_ms, whole.end_ms))
    halves = [replace(whole, end_ms=middle), replace(whole, start_ms=middle)]
    rewritten = [*found[:torn], *halves, *found[torn + 1 :]]
    rewritten = [interval for interval in rewritten if interval.start_ms < interval.end_ms]
    before = labels_of(labeled_video(1, found), rule)
    assert labels_of(labeled_video(1, dice.sample(rewritten, len(rewritten))), rule) == before


@given(st.lists(st.integers(0, 4_000), min_size=2, max_size=2), units, bounds)
def test_more_overlap_never_takes_a_label_away(covered, unit, band):
    rule = a_rule(unit, band[1], band[0])
    low, high = (a_label(rule, ms).label for ms in sorted(covered))
    assert low <= high


@given(st.integers(0, 4_000), units, bounds)
def test_a_higher_bar_never_makes_a_segment_positive(covered, unit, bars):
    easy, hard = (a_label(a_rule(unit, bar), covered).label for bar in bars)
    assert hard <= easy


@given(
    st.integers(0, 4_000),
    units,
    st.lists(st.integers(1, 4_000), min_size=3, max_size=3, unique=True),
)
def test_a_wider_band_never_makes_a_segment_clear_and_never_changes_a_label(covered, unit, bounds):
    low, lower_middle, high = sorted(bounds)
    wide, narrow = (a_label(a_rule(unit, high, below), covered) for below in (low, lower_middle))
    assert wide.clear <= narrow.clear
    assert wide.label == narrow.label == a_label(a_rule(unit, high), covered).label


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"positive_at": 0}, "greater than 0"),
        ({"positive_at": 1.01}, "no share in .* set overlap_unit to ms"),
        ({"positive_at": 500}, "no share in .* set overlap_unit to ms"),
        ({"overlap_unit": "ms"}, "positive_at 0.5 is no whole number of milliseconds"),
        ({"negative_below": 0}, "greater than 0"),
        ({"negative_below": 0.5}, "negative_below 0.5 must be less than positive_at 0.5"),
        ({"overlap_unit": "ms", "positive_at": 9, "negative_below": 1.5}, "1.5 is no whole number"),
        ({"overlap_unit": "seconds"}, "'share' or 'ms'"),
        ({"unannotated_positive": "guess"}, "'video' or 'unlabelled'"),
    ],
)
def test_bounds_that_mean_nothing_are_refused_with_what_was_expected(settings, message):
    with pytest.raises(ValidationError, match=message):
        LabelRule(**settings)
