"""Words in time: the segment each word belongs to, and the pauses between words."""

from collections.abc import Sequence
from itertools import pairwise

from storage.records import Interval, SegmentRecord, Word


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


def pauses_between(words: Sequence[Word], min_pause_ms: int) -> tuple[Interval, ...]:
    """List the gaps of at least ``min_pause_ms`` between one word's end and the next one's start.

    Silence before the first word and after the last one is not a pause.
    """
    return tuple(
        Interval(start_ms=before.end_ms, end_ms=after.start_ms)
        for before, after in pairwise(words)
        if after.start_ms - before.end_ms >= min_pause_ms
    )
