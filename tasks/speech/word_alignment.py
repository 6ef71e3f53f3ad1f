"""Words in time: which segment a word belongs to, and where nobody speaks."""

from collections.abc import Sequence
from itertools import pairwise

from storage.records import Interval, SegmentRecord, Word


def words_of_segments(
    words: Sequence[Word], segments: Sequence[SegmentRecord]
) -> list[tuple[Word, ...]]:
    """Lay a video's words, in order of time, onto its segments, in order of time.

    Each word lands on exactly one segment: the one it overlaps most, the earlier of equals; a word
    without length on the one it stands in; a word past the end on the last. Order is kept: read one
    after another, the segments' words are the words. Without segments there is nothing to land on.
    """
    laid: list[list[Word]] = [[] for _ in segments]
    current = 0
    for word in words if segments else ():
        current = max(current, _nearest(word, segments, current))
        laid[current].append(word)
    return [tuple(of_segment) for of_segment in laid]


def words_before_segments(
    words_by_segment: Sequence[Sequence[Word]], max_words: int
) -> list[tuple[Word, ...]]:
    """Give each segment the last ``max_words`` words that lie on the segments before it."""
    before: list[tuple[Word, ...]] = []
    message: list[Word] = []
    for words in words_by_segment:
        before.append(tuple(message[max(0, len(message) - max_words) :]))
        message += words
    return before


def _nearest(word: Word, segments: Sequence[SegmentRecord], first: int) -> int:
    """The segment, from ``first`` on, with most overlap, else with the smallest distance."""

    def overlap_ms(index: int) -> int:
        segment = segments[index]
        return min(word.end_ms, segment.end_ms) - max(word.start_ms, segment.start_ms)

    best = first
    for index in range(first, len(segments)):
        if segments[index].start_ms > word.end_ms:
            break
        stands_in = word.start_ms == word.end_ms == segments[index].start_ms
        if overlap_ms(index) > overlap_ms(best) or stands_in:
            best = index
    return best


def pauses_between(words: Sequence[Word], min_pause_ms: int) -> tuple[Interval, ...]:
    """List the stretches of at least ``min_pause_ms`` between one word's end and the next's start.

    Silence before the first word and after the last is not a pause.
    """
    return tuple(
        Interval(start_ms=before.end_ms, end_ms=after.start_ms)
        for before, after in pairwise(words)
        if after.start_ms - before.end_ms >= min_pause_ms
    )


def words_per_minute(words: Sequence[Word]) -> float:
    """Speech rate from the first word's start to the last word's end; 0 without speech."""
    if not words:
        return 0.0
    spoken_ms = words[-1].end_ms - words[0].start_ms
    return len(words) * 60_000 / spoken_ms if spoken_ms else 0.0
