from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from storage.media_records import SegmentRecord
from storage.records import Word
from tasks.speech.word_alignment import pauses_between, words_of_segments
from tests.builders import a_segment, a_word


def segment(index: int, start_ms: int, end_ms: int) -> SegmentRecord:
    return a_segment(index=index, start_ms=start_ms, end_ms=end_ms)


def word(start_ms: int, end_ms: int, text: str = "w") -> Word:
    return a_word(text, start_ms, end_ms)


@st.composite
def segment_rows(draw: st.DrawFn) -> list[SegmentRecord]:
    lengths = draw(st.lists(st.integers(1, 5000), min_size=1, max_size=8))
    edges = [sum(lengths[:i]) for i in range(len(lengths) + 1)]
    return [segment(i, a, b) for i, (a, b) in enumerate(pairwise(edges))]


@st.composite
def word_rows(draw: st.DrawFn) -> list[Word]:
    steps = st.tuples(st.integers(0, 2000), st.integers(0, 900))
    words, now = [], 0
    for number, (gap, length) in enumerate(draw(st.lists(steps, max_size=30))):
        words.append(word(now + gap, now + gap + length, f"w{number}"))
        now += gap + length
    return words


def overlap_ms(one: Word, other: SegmentRecord) -> int:
    return max(0, min(one.end_ms, other.end_ms) - max(one.start_ms, other.start_ms))


@given(word_rows(), segment_rows())
def test_every_word_is_assigned_to_exactly_one_segment_in_order(
    words: list[Word], segments: list[SegmentRecord]
) -> None:
    assigned = words_of_segments(words, segments)
    assert len(assigned) == len(segments)
    assert [w for of_segment in assigned for w in of_segment] == words


@given(word_rows(), segment_rows())
def test_word_across_a_boundary_is_assigned_to_the_segment_it_overlaps_most(
    words: list[Word], segments: list[SegmentRecord]
) -> None:
    for own, of_segment in zip(segments, words_of_segments(words, segments), strict=True):
        for one in of_segment:
            assert overlap_ms(one, own) == max(overlap_ms(one, other) for other in segments)


@given(segment_rows(), st.data())
def test_word_of_zero_length_is_assigned_to_the_segment_that_contains_it(
    segments: list[SegmentRecord], data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, segments[-1].end_ms - 1))
    (index,) = [i for i, words in enumerate(words_of_segments([word(at, at)], segments)) if words]
    assert segments[index].start_ms <= at < segments[index].end_ms


def test_word_past_the_end_is_assigned_to_the_last_segment_and_a_tie_to_the_earlier() -> None:
    segments = [segment(0, 0, 1000), segment(1, 1000, 2000)]
    tie, late = word(900, 1100), word(2500, 2600)
    assert words_of_segments([tie, late], segments) == [(tie,), (late,)]


def test_overlapping_words_keep_their_order() -> None:
    segments = [segment(0, 0, 1000), segment(1, 1000, 2000)]
    long, short = word(500, 1900), word(600, 700)
    assert words_of_segments([long, short], segments) == [(), (long, short)]


def test_no_word_is_assigned_without_segments() -> None:
    assert words_of_segments([word(0, 1)], []) == []


@given(word_rows(), st.integers(1, 1500))
def test_pauses_are_the_long_enough_gaps_between_words(
    words: list[Word], min_pause_ms: int
) -> None:
    pauses = pauses_between(words, min_pause_ms, [segment(0, 0, 10**6)])
    gaps = [after.start_ms - before.end_ms for before, after in pairwise(words)]
    assert [p.end_ms - p.start_ms for p in pauses] == [g for g in gaps if g >= min_pause_ms]
    for pause in pauses:
        assert all(w.end_ms <= pause.start_ms or w.start_ms >= pause.end_ms for w in words)


def test_time_without_audio_is_no_pause() -> None:
    words = [word(0, 500), word(9_000, 9_500)]
    segments = [segment(k, 2_000 * k, 2_000 * (k + 1)) for k in range(5)]
    segments[1] = a_segment(index=1, start_ms=2_000, end_ms=4_000, audio_path=None)
    spans = [(p.start_ms, p.end_ms) for p in pauses_between(words, 250, segments)]
    assert spans == [(500, 2_000), (4_000, 9_000)]
    assert pauses_between(words, 2_000, segments)[0].start_ms == 4_000
