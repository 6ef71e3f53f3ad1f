import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.datasets.table.stretches import Stretch, combine
from storage.errors import DataError
from storage.issues import IssueKind
from storage.records import Interval

stretches = st.builds(
    lambda label, start_ms, length, line: Stretch(
        label=label,
        interval=Interval(start_ms=start_ms, end_ms=start_ms + length),
        location=f"line {line}",
    ),
    st.sampled_from([0, 1]),
    st.integers(0, 60),
    st.integers(1, 20),
    st.integers(2, 99),
)


def _covered(rows, label: int | None = None) -> set[int]:
    return {
        ms
        for row in rows
        if label is None or row.label == label
        for ms in range(row.interval.start_ms, row.interval.end_ms)
    }


def _milliseconds(intervals) -> set[int]:
    return {ms for i in intervals for ms in range(i.start_ms, i.end_ms)}


@given(st.lists(stretches, min_size=1, max_size=6), st.sampled_from([None, 0, 1]))
def test_every_stretch_keeps_its_own_label_and_overlapping_ones_are_rejected(rows, label):
    positive, negative = _covered(rows, 1), _covered(rows, 0)
    if positive & negative:
        with pytest.raises(DataError, match="give every moment one label"):
            combine(label, "line 1", rows)
        return
    found = combine(label, "line 1", rows)
    assert _milliseconds(found.intervals) == positive
    assert _milliseconds(found.negative_intervals) == negative
    assert found.label == (label if label is not None else 1 if positive else None)
    contradicts = any(i.kind is IssueKind.NEGATIVE_WITH_INTERVALS for i in found.issues)
    assert contradicts == (label == 0 and bool(positive))


@given(st.lists(stretches, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(rows, rng):
    def result(rows):
        try:
            found = combine(1, "line 1", rows)
        except DataError:
            return None
        return found.label, found.intervals, found.negative_intervals

    assert result(rng.sample(rows, len(rows))) == result(rows)
