import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.datasets.bah.transcript import Phrase, read_phrases, repair_phrases
from storage.issues import Issue, IssueKind


def test_pieces_without_text_or_start_are_counted_and_dropped():
    issues: list[Issue] = []
    pieces = [{"text": " so", "timestamp": (0.0, 1.5)}, {"text": "and", "timestamp": None}, "but"]
    assert read_phrases({"chunks": pieces}, issues) == (Phrase(text="so", start_ms=0, end_ms=1500),)
    message = "transcript has 2 pieces without text or start: dropped"
    assert issues == [Issue(IssueKind.TRANSCRIPT_UNREADABLE, message)]


def _phrases(*times: tuple[int, int | None]) -> list[Phrase]:
    return [Phrase(text="w", start_ms=a, end_ms=b) for a, b in times]


def _times(phrases: tuple[Phrase, ...]) -> list[tuple[int, int | None]]:
    return [(phrase.start_ms, phrase.end_ms) for phrase in phrases]


def test_restarting_times_continue_from_the_previous_phrase():
    given_phrases = _phrases((0, 12_000), (12_000, 28_500), (0, 4000), (4000, 29_000), (0, 2000))
    repaired, issues = repair_phrases(given_phrases)
    assert _times(repaired) == [
        (0, 12_000),
        (12_000, 28_500),
        (28_500, 32_500),
        (32_500, 57_500),
        (57_500, 59_500),
    ]
    message = "transcript times restart 2 times: made monotone"
    assert issues == (Issue(IssueKind.TRANSCRIPT_RESTARTS, message),)


@pytest.mark.parametrize(
    ("times", "num_restarts"),
    [
        (((0, 29_000), (0, None)), 1),
        (((0, None), (0, None), (0, 4000)), 2),
        (((4000, 20_000), (4000, 9000)), 1),
        (((0, 29_000), (3000, 8000)), 1),
        (((0, 10_000), (10_000, 29_000), (9000, 12_000)), 1),
        (((0, 2000), (2000, 2000), (2000, 5000)), 0),
        (((0, 2020), (2000, 5000), (4600, 9000)), 0),
        (((0, None), (1, 5000)), 0),
        (((0, 5000), (5000, 5000), (5000, None), (5001, None)), 0),
    ],
)
def test_every_start_that_does_not_continue_the_previous_phrase_is_a_restart(times, num_restarts):
    repaired, issues = repair_phrases(_phrases(*times))
    message = f"transcript times restart {num_restarts} times: made monotone"
    found = [issue.detail for issue in issues if issue.kind is IssueKind.TRANSCRIPT_RESTARTS]
    assert found == ([message] if num_restarts else [])
    starts = [phrase.start_ms for phrase in repaired]
    assert starts == sorted(starts)


@given(st.lists(st.integers(1, 9000), min_size=1, max_size=5), st.booleans())
def test_a_window_that_is_repeated_from_its_first_start_is_a_restart(lengths, is_open):
    times: list[tuple[int, int | None]] = []
    for length in lengths:
        times.append((times[-1][1] if times else 0, (times[-1][1] if times else 0) + length))
    again = (times[0][0], None if is_open else times[0][1])
    repaired, issues = repair_phrases(_phrases(*times, again))
    assert IssueKind.TRANSCRIPT_RESTARTS in [issue.kind for issue in issues]
    assert repaired[-1].start_ms == times[-1][1]


def test_an_open_end_is_closed_by_the_next_start_or_the_end_of_the_video():
    repaired, issues = repair_phrases(_phrases((0, None), (5000, None)), duration_ms=9000)
    assert _times(repaired) == [(0, 5000), (5000, 9000)]
    message = "transcript has 2 pieces without an end: closed where possible"
    assert issues == (Issue(IssueKind.TRANSCRIPT_OPEN, message),)


def test_an_open_end_before_a_restart_is_the_end_of_the_transcribers_window():
    repaired, _ = repair_phrases(_phrases((0, 20_000), (20_000, None), (0, 1000)))
    assert _times(repaired) == [(0, 20_000), (20_000, 30_000), (30_000, 31_000)]


def test_without_a_duration_the_last_open_end_stays_open():
    repaired, _ = repair_phrases(_phrases((0, None)))
    assert _times(repaired) == [(0, None)]


@given(
    st.lists(st.tuples(st.integers(0, 40_000), st.none() | st.integers(0, 45_000)), max_size=12),
    st.integers(1, 90_000),
)
def test_repaired_times_are_monotone_and_within_the_video(times, duration_ms):
    given_phrases = _phrases(*times)
    repaired, _ = repair_phrases(given_phrases, duration_ms)
    assert len(repaired) == len(given_phrases)
    starts = [phrase.start_ms for phrase in repaired]
    assert starts == sorted(starts)
    for phrase in repaired:
        assert phrase.end_ms is not None
        assert 0 <= phrase.start_ms <= phrase.end_ms <= duration_ms


@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(1, 900)), max_size=10))
def test_sorted_times_are_unchanged(steps):
    at_ms, given_phrases = 0, []
    for pause_ms, length_ms in steps:
        given_phrases += _phrases((at_ms + pause_ms, at_ms + pause_ms + length_ms))
        at_ms += pause_ms + length_ms
    assert repair_phrases(given_phrases) == (tuple(given_phrases), ())
