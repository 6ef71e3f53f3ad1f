import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.records import AUDIO_SAMPLE_RATE
from tasks.media.audio.timeline import (
    MAX_JITTER,
    Chunk,
    covered_by,
    gaps_of,
    join_chunks,
    union_of,
)

SPANS = st.lists(st.tuples(st.integers(-50, 200), st.integers(0, 60)).map(lambda s: (s[0], sum(s))))


def chunk(start: int, length: int, value: int = 1) -> Chunk:
    return Chunk(start=start, samples=np.full(length, value, np.int16))


def numbered(start: int, length: int) -> Chunk:
    """Build a chunk whose samples are their true positions, modulo 2**15."""
    return Chunk(start=start, samples=(np.arange(start, start + length) % 2**15).astype(np.int16))


def positions(start: int, end: int) -> np.ndarray:
    return (np.arange(start, end) % 2**15).astype(np.int16)


@given(st.lists(st.integers(1, 4_000), min_size=1, max_size=40), st.integers(-9_000, 9_000))
def test_consecutive_chunks_are_kept_sample_for_sample(lengths, start):
    chunks, at = [], start
    for length in lengths:
        chunks.append(numbered(at, length))
        at += length
    timeline = join_chunks(chunks)
    assert timeline.spans() == [(start, at)]
    assert np.array_equal(timeline.read(start, at), positions(start, at))


@given(
    st.lists(st.tuples(st.integers(300, 3_000), st.integers(-700, 700)), min_size=1, max_size=60)
)
def test_jitter_of_timestamps_neither_repeats_nor_drops_a_sample(packets):
    chunks, at = [], 0
    for length, jitter in packets:
        samples = numbered(at, length).samples
        chunks.append(Chunk(start=at + (jitter if chunks else 0), samples=samples))
        at += length
    timeline = join_chunks(chunks)
    assert timeline.spans() == [(0, at)]
    assert np.array_equal(timeline.read(0, at), positions(0, at))


@given(
    st.lists(
        st.tuples(st.integers(1, 3_000), st.integers(MAX_JITTER + 1, 10**12)),
        min_size=1,
        max_size=20,
    )
)
def test_gaps_stay_open_and_what_follows_is_at_its_time(packets):
    chunks, at = [], 0
    for length, gap in packets:
        chunks.append(numbered(at, length))
        at += length + gap
    timeline = join_chunks(chunks)
    assert timeline.spans() == [(c.start, c.end) for c in chunks]
    for expected in chunks:
        around = timeline.read(expected.start - 5, expected.end + 5)
        assert np.array_equal(around[5:-5], expected.samples)
        assert not around[:5].any()
        assert not around[-5:].any()


@given(
    st.lists(
        st.tuples(st.integers(-5_000, 15_000).map(lambda n: 4 * n), st.integers(1, 6_000)),
        max_size=30,
        unique_by=lambda packet: packet[0],
    )
)
def test_in_any_order_of_chunks_each_sample_is_within_a_tenth_of_a_second_of_its_time(packets):
    timeline = join_chunks(numbered(start, length) for start, length in packets)
    assert all(a[1] < b[0] for a, b in zip(timeline.spans(), timeline.spans()[1:], strict=False))
    for part in timeline.chunks:
        off = part.samples.astype(int) - np.arange(part.start, part.end)
        off = (off + 2**14) % 2**15 - 2**14
        assert np.abs(off).max() <= MAX_JITTER


@given(st.lists(st.tuples(st.integers(0, 30_000), st.integers(1, 6_000)), min_size=1, max_size=9))
def test_parts_read_together_are_the_whole(packets):
    timeline = join_chunks(numbered(start, length) for start, length in packets)
    whole = timeline.read(0, timeline.end)
    parts = [timeline.read(at, at + 777) for at in range(0, timeline.end, 777)]
    assert np.array_equal(np.concatenate(parts)[: len(whole)], whole)
    assert len(timeline.decoded(0, timeline.end)) == sum(b - a for a, b in timeline.spans())


def test_samples_whose_time_has_passed_are_dropped():
    late = Chunk(start=AUDIO_SAMPLE_RATE, samples=np.full(2 * AUDIO_SAMPLE_RATE, 2, np.int16))
    timeline = join_chunks([chunk(0, 2 * AUDIO_SAMPLE_RATE), late])
    assert timeline.spans() == [(0, 3 * AUDIO_SAMPLE_RATE)]
    assert set(timeline.read(0, 2 * AUDIO_SAMPLE_RATE).tolist()) == {1}
    assert set(timeline.read(2 * AUDIO_SAMPLE_RATE, timeline.end).tolist()) == {2}


@pytest.mark.parametrize("ahead", [4_267, 90_000, 10**9])
def test_one_wrong_timestamp_in_the_future_moves_nothing(ahead):
    chunks, raised = [], -1
    for at in range(0, 40 * 384, 384):
        start = at + (ahead if at == 10 * 384 else 0)
        raised = max(start, raised + 1)  # as ffmpeg writes timestamps that do not increase
        chunks.append(Chunk(start=raised, samples=numbered(at, 384).samples))
    timeline = join_chunks(chunks)
    assert timeline.spans() == [(0, 40 * 384)]
    assert np.array_equal(timeline.read(0, 40 * 384), positions(0, 40 * 384))


def test_a_timeline_without_samples_is_silent():
    timeline = join_chunks([])
    assert (timeline.end, timeline.spans(), len(timeline.decoded(0, 9))) == (0, [], 0)
    assert not timeline.read(0, 9).any()


@given(SPANS)
def test_spans_and_their_gaps_cover_each_position_once(spans):
    union = union_of(spans)
    covered = set().union(*(range(a, b) for a, b in spans)) if spans else set()
    assert {p for a, b in union for p in range(a, b)} == covered
    assert covered_by(union, -100, 300) == len(covered)
    gaps = {p for a, b in gaps_of(union) for p in range(a, b)}
    assert not gaps & covered
    assert len(gaps) + len(covered) == (union[-1][1] - union[0][0] if union else 0)


def test_spans_closer_than_the_largest_gap_are_one():
    assert union_of([(0, 5), (8, 9), (20, 30)], 3) == [(0, 9), (20, 30)]
