from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from storage.datasets.bah.annotation import read_annotation
from storage.datasets.dataset import Dataset
from storage.datasets.doubtful import withhold_doubtful
from storage.datasets.intervals import clip_intervals, outside, tidy_intervals
from storage.issues import Issue, IssueKind
from storage.records import Interval, VideoRecord
from tasks.labels.annotation import LocatedAnnotation, locate
from tasks.labels.label_rule import LabelRule, SegmentLabel, label_segment
from tasks.labels.overlap import SegmentOverlap, measure_overlap
from tests.builders import a_video

END_MS, SEGMENT_MS = 20_000, 4_000
times = st.integers(0, END_MS - 4_000)
intervals = st.lists(
    st.builds(
        lambda a, length: Interval(start_ms=a, end_ms=a + length), times, st.integers(300, 4_000)
    ),
    min_size=1,
    max_size=6,
)
units = st.sampled_from(["fraction", "larger_fraction", "ms"])
bounds = st.lists(st.integers(1, 4_000), min_size=2, max_size=2, unique=True).map(sorted)


def labeled_video(label: int | None, intervals: list[Interval]) -> VideoRecord:
    return a_video(label=label, intervals=tuple(intervals))


def a_rule(unit: str, positive_at: float, negative_below: float | None = None, **settings):
    """Build a rule from bounds in milliseconds of a segment of 4 s."""
    scale = 1 if unit == "ms" else SEGMENT_MS
    return LabelRule(
        overlap_unit=unit,
        positive_at=positive_at / scale,
        negative_below=None if negative_below is None else negative_below / scale,
        **settings,
    )


def labels_within(annotation: LocatedAnnotation, rule: LabelRule) -> list[SegmentLabel]:
    """Label five segments of 4 s."""
    return [
        label_segment(annotation, measure_overlap(start, end, annotation), rule)
        for start, end in pairwise(range(0, END_MS + 1, SEGMENT_MS))
    ]


def labels_of(video: VideoRecord, rule: LabelRule) -> list[SegmentLabel]:
    return labels_within(locate(video, END_MS), rule)


def a_label(rule: LabelRule, covered_ms: int, unknown_ms: int = 0) -> SegmentLabel:
    """Label one segment of 4 s with ``covered_ms`` of overlap, part of an interval of 8 s."""
    overlap = SegmentOverlap(
        duration_ms=SEGMENT_MS, ms=covered_ms, unknown_ms=unknown_ms,
        interval_fraction=covered_ms / 8_000,
    )  # fmt: skip
    return label_segment(LocatedAnnotation(label=1), overlap, rule)


@pytest.mark.parametrize("unit", ["fraction", "larger_fraction", "ms"])
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


@pytest.mark.parametrize("duration_ms", [500, 5_000])
def test_milliseconds_require_the_same_of_short_and_long_segments(duration_ms):
    rule = LabelRule(overlap_unit="ms", positive_at=500)
    overlap = SegmentOverlap(duration_ms=duration_ms, ms=500, unknown_ms=0, interval_fraction=1.0)
    assert label_segment(LocatedAnnotation(label=1), overlap, rule).label == 1


@pytest.mark.parametrize("unit", ["fraction", "ms"])
@pytest.mark.parametrize(
    ("covered_ms", "unknown_ms", "label", "in_band"),
    [
        (2_000, 2_000, 1, False), (1_999, 1, None, False), (0, 1_999, 0, True),
        (0, 999, 0, False), (0, 2_000, None, False), (500, 1_499, 0, True),
        (0, 4_000, None, False),
    ],
)  # fmt: skip
def test_a_segment_has_a_label_only_if_unknown_time_cannot_change_it(
    unit, covered_ms, unknown_ms, label, in_band
):
    found = a_label(a_rule(unit, 2_000, 1_000), covered_ms, unknown_ms)
    assert (found.label, found.in_ignore_band) == (label, in_band)


def test_a_segment_of_unknown_time_is_unlabeled_even_if_it_is_too_short_to_be_positive():
    rule = LabelRule(overlap_unit="ms", positive_at=500)
    overlap = SegmentOverlap(duration_ms=400, ms=0, unknown_ms=400, interval_fraction=0.0)
    assert label_segment(LocatedAnnotation(label=None), overlap, rule).label is None


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
        (labeled_video(None, [Interval(start_ms=0, end_ms=END_MS)]), "video", None, None),
        (labeled_video(1, [Interval(start_ms=0, end_ms=END_MS)]), "video", 1, "intervals"),
        (labeled_video(1, [Interval(start_ms=2, end_ms=5)]), "video", None, None),  # seconds
    ],
)
def test_source_of_a_label_is_recorded_and_contradictions_have_no_label(
    video, unannotated_positive, label, source
):
    found = labels_of(video, LabelRule(unannotated_positive=unannotated_positive))
    assert found == [SegmentLabel(label=label, source=source)] * 5


def test_stretches_without_ah_are_negative_and_the_rest_of_the_video_is_weak_or_unlabeled():
    stretches = (Interval(start_ms=0, end_ms=4_000), Interval(start_ms=8_000, end_ms=11_000))
    for label, source in ((1, "video"), (None, None)):
        found = labels_of(a_video(label=label, negative_intervals=stretches), LabelRule())
        assert [each.label for each in found] == [0, label, 0, label, label]
        assert {each.source for each in found} == {"intervals", source}


lost_times = st.sampled_from(["reversed", "unreadable", "empty", "after the end", "far past"])


@given(intervals, st.data(), lost_times, units, bounds, st.sampled_from(["1", 1]))
def test_a_lost_interval_never_gives_a_segment_another_label(found, data, fault, unit, band, label):
    truth, _ = clip_intervals(tidy_intervals(found)[0], END_MS)
    rule = a_rule(unit, band[1], band[0])
    pairs = [[i.start_ms / 1_000, i.end_ms / 1_000] for i in truth]
    index = data.draw(st.integers(0, len(pairs) - 1))
    start, end = pairs[index]
    pairs[index] = {
        "reversed": [end, start], "unreadable": [start, "later"], "empty": [start, start],
        "after the end": [start + 100, end + 100], "far past": [start, start + 80],
    }[fault]  # fmt: skip
    read = read_annotation({"global_ah": label, "time_detailed_ah": pairs})
    video = a_video(label=read.label, intervals=read.intervals, issues=read.issues)
    (used,) = withhold_doubtful(Dataset(root=Path(), videos=(video,))).videos
    located = locate(used, END_MS)
    assert located.is_withheld
    expected = labels_of(labeled_video(1, list(truth)), rule)
    for segment, true_segment in zip(labels_within(located, rule), expected, strict=True):
        assert segment.label in (None, true_segment.label)
        assert segment.source in (None, "intervals")


@given(intervals, intervals, st.booleans(), units, bounds, st.data())
def test_no_completion_of_unknown_time_changes_a_label(found, negative, is_lost, unit, band, data):
    shown, _ = clip_intervals(tidy_intervals(found)[0], END_MS)
    without = [i for gap in outside(shown, END_MS) for i in _clipped(negative, gap)]
    issues = (Issue(IssueKind.INTERVAL_UNREADABLE, "lost"),) if is_lost else ()
    stretches = tuple(tidy_intervals(without)[0])
    located = locate(
        replace(labeled_video(1, list(shown)), negative_intervals=stretches, issues=issues), END_MS
    )
    rule = a_rule(unit, band[1], band[0])
    completed = list(located.intervals)
    for gap in located.unknown:
        cuts = st.integers(gap.start_ms + 1, gap.end_ms)
        start, end = sorted(data.draw(st.tuples(cuts, cuts)))
        completed += [Interval(start_ms=start, end_ms=end - 1)] if start < end - 1 else []
    full = LocatedAnnotation(label=1, intervals=tuple(sorted(completed, key=lambda i: i.start_ms)))
    for segment, other in zip(labels_within(located, rule), labels_within(full, rule), strict=True):
        assert segment.label in (None, other.label)


def _clipped(found: list[Interval], gap: Interval) -> list[Interval]:
    pairs = [(max(i.start_ms, gap.start_ms), min(i.end_ms, gap.end_ms)) for i in found]
    return [Interval(start_ms=start, end_ms=end) for start, end in pairs if start < end]


cut_points = st.lists(st.integers(1, END_MS - 1), max_size=8, unique=True).map(sorted)


@given(intervals, cut_points, st.floats(0.01, 0.5))
def test_under_the_larger_fraction_every_interval_makes_a_segment_positive(found, cuts, at):
    located = locate(labeled_video(1, found), END_MS)
    rule = LabelRule(overlap_unit="larger_fraction", positive_at=at)
    segments = list(pairwise([0, *cuts, END_MS]))
    for interval in located.intervals:
        labels = [
            label_segment(located, measure_overlap(start, end, located), rule).label
            for start, end in segments
            if start < interval.end_ms and interval.start_ms < end
        ]
        assert 1 in labels


@given(intervals, bounds)
def test_the_larger_fraction_only_adds_positive_segments(found, band):
    video = labeled_video(1, found)
    smaller, larger = (
        labels_of(video, a_rule(unit, band[1])) for unit in ("fraction", "larger_fraction")
    )
    assert all(a.label <= b.label for a, b in zip(smaller, larger, strict=True))


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
        ({"overlap_unit": "larger_fraction", "positive_at": 500}, "not a fraction in"),
        ({"overlap_unit": "seconds"}, "'fraction', 'larger_fraction' or 'ms'"),
        ({"unannotated_positive": "guess"}, "'video' or 'unlabeled'"),
    ],
)
def test_invalid_bounds_are_rejected_with_what_was_expected(settings, message):
    with pytest.raises(ValidationError, match=message):
        LabelRule(**settings)
