"""Words in time: the segment each word belongs to, and the pauses between words."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from storage.media_records import SegmentRecord
from storage.records import Interval, Word


def words_of_segments(
    words: Sequence[Word], segments: Sequence[SegmentRecord]
) -> list[tuple[Word, ...]]:
    """Assign a video's words to its segments, both in order of time.

    Each word is assigned to exactly one segment: the one it overlaps most, the earlier one on a
    tie; a word of zero length to the segment that contains it; a word past the end to the last
    segment. Order is kept: the segments' words, concatenated, are ``words``.
    """
    assigned: list[list[Word]] = [[] for _ in segments]
    current = 0
    for word in words if segments else ():
        current = max(current, _nearest(word, segments, current))
        assigned[current].append(word)
    return [tuple(of_segment) for of_segment in assigned]


def words_before_segments(
    words_by_segment: Sequence[Sequence[Word]], max_words: int
) -> list[tuple[Word, ...]]:
    """Return, for each segment, the last ``max_words`` words of the segments before it."""
    before: list[tuple[Word, ...]] = []
    previous: list[Word] = []
    for words in words_by_segment:
        before.append(tuple(previous[max(0, len(previous) - max_words) :]))
        previous += words
    return before


def _nearest(word: Word, segments: Sequence[SegmentRecord], first: int) -> int:
    """Return the index, from ``first``, of the segment with most overlap, else the closest one."""

    def overlap_ms(index: int) -> int:
        segment = segments[index]
        return min(word.end_ms, segment.end_ms) - max(word.start_ms, segment.start_ms)

    best = first
    for index in range(first, len(segments)):
        if segments[index].start_ms > word.end_ms:
            break
        starts_here = word.start_ms == word.end_ms == segments[index].start_ms
        if overlap_ms(index) > overlap_ms(best) or starts_here:
            best = index
    return best


def pauses_between(
    words: Sequence[Word], min_pause_ms: int, segments: Sequence[SegmentRecord]
) -> tuple[Interval, ...]:
    """List the gaps of at least ``min_pause_ms`` between one word's end and the next one's start.

    Silence before the first word and after the last one is not a pause, nor is time for which no
    audio is known: between ``segments`` with audio, gaps are split.
    """
    return tuple(
        Interval(start_ms=start_ms, end_ms=end_ms)
        for before, after in pairwise(words)
        for start_ms, end_ms in _within(before.end_ms, after.start_ms, _audible_spans(segments))
        if end_ms - start_ms >= min_pause_ms
    )


def _audible_spans(segments: Sequence[SegmentRecord]) -> list[tuple[int, int]]:
    """Return the bounds of consecutive segments with audio, in milliseconds."""
    spans: list[tuple[int, int]] = []
    for segment in segments:
        if segment.audio_path is None:
            continue
        if spans and spans[-1][1] == segment.start_ms:
            spans[-1] = spans[-1][0], segment.end_ms
        else:
            spans.append((segment.start_ms, segment.end_ms))
    return spans


def _within(
    start_ms: int, end_ms: int, spans: Sequence[tuple[int, int]]
) -> Iterator[tuple[int, int]]:
    """Yield the parts of ``[start_ms, end_ms)`` that are in ``spans``."""
    for span in spans:
        bounds = max(start_ms, span[0]), min(end_ms, span[1])
        if bounds[0] < bounds[1]:
            yield bounds
