from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from storage.datasets.intervals import tidy_intervals
from storage.records import Interval
from tasks.labels.annotation import LocatedAnnotation
from tasks.labels.overlap import measure_overlap, overlap_ms

DURATION_MS = 30_000
times = st.integers(0, DURATION_MS + 5_000)
intervals = st.lists(
    st.builds(lambda a, b: Interval(start_ms=a, end_ms=b), times, times), max_size=8
)
inner_bounds = st.lists(st.integers(1, DURATION_MS - 1), unique=True, max_size=12)


def segments(bounds: list[int]) -> list[tuple[int, int]]:
    """Partition the video at inner bounds."""
    return list(pairwise([0, *sorted(bounds), DURATION_MS]))


def annotated_ms(found: list[Interval]) -> int:
    """Count the video's annotated milliseconds one by one."""
    covered: set[int] = set()
    for interval in found:
        covered.update(range(interval.start_ms, min(interval.end_ms, DURATION_MS)))
    return len(covered)


@given(intervals, inner_bounds)
def test_overlaps_of_a_partition_sum_to_the_annotated_time(found, bounds):
    total = sum(overlap_ms(start, end, found) for start, end in segments(bounds))
    assert total == annotated_ms(found)


@given(intervals, st.randoms(use_true_random=False))
def test_order_of_intervals_does_not_matter(found, rng):
    shuffled = rng.sample(found, len(found))
    assert overlap_ms(3_000, 9_000, shuffled) == overlap_ms(3_000, 9_000, found)


@given(intervals, inner_bounds, inner_bounds)
def test_a_finer_grid_never_loses_time(found, bounds, more_bounds):
    coarse = {bound: overlap_ms(*bound, found) for bound in segments(bounds)}
    fine = segments(list({*bounds, *more_bounds}))
    for (start, end), covered in coarse.items():
        inside = [bound for bound in fine if start <= bound[0] and bound[1] <= end]
        assert sum(overlap_ms(*bound, found) for bound in inside) == covered


@given(intervals)
def test_overlap_is_never_longer_than_the_segment(found):
    assert 0 <= overlap_ms(4_000, 9_000, found) <= 5_000


@given(intervals, intervals, inner_bounds)
def test_measured_overlap_is_that_of_intervals_and_of_unknown_time(found, unknown, bounds):
    positive = tuple(i for i in tidy_intervals(found)[0] if i.start_ms < i.end_ms)
    annotation = LocatedAnnotation(label=1, intervals=positive, unknown=tuple(unknown))
    measured = [measure_overlap(start, end, annotation) for start, end in segments(bounds)]
    for (start, end), overlap in zip(segments(bounds), measured, strict=True):
        assert overlap.duration_ms == end - start
        assert overlap.ms == overlap_ms(start, end, found)
        assert overlap.unknown_ms == overlap_ms(start, end, unknown)
        assert overlap.fraction == overlap.ms / (end - start)
        whole = any(start <= i.start_ms and i.end_ms <= end for i in positive)
        assert (overlap.interval_fraction == 1.0) == whole


def test_the_fraction_of_an_interval_is_the_largest_of_all():
    found = (Interval(start_ms=1_000, end_ms=2_000), Interval(start_ms=3_000, end_ms=7_000))
    annotation = LocatedAnnotation(label=1, intervals=found)
    fractions = [
        measure_overlap(start, end, annotation).interval_fraction
        for start, end in ((0, 1_000), (0, 1_250), (1_900, 4_000), (4_000, 9_000), (7_000, 9_000))
    ]
    assert fractions == [0.0, 0.25, 0.25, 0.75, 0.0]


def test_touching_and_overlapping_intervals_count_once():
    touching = [
        Interval(start_ms=2_000, end_ms=3_000),
        Interval(start_ms=1_000, end_ms=2_000),
        Interval(start_ms=1_500, end_ms=2_500),
    ]
    assert overlap_ms(0, 10_000, touching) == 2_000
    assert overlap_ms(3_000, 4_000, touching) == 0
