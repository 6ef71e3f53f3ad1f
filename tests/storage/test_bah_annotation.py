import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.bah_annotation import Phrase, mend_phrases, read_annotation
from storage.records import Interval

RECORD = {
    "all_cues": [{"audio": None, "body": None, "facial": "frown", "language": None}],
    "annotator_id": "AB",
    "certainty_ah": [2],
    "global_ah": 1,
    "time_detailed_ah": [["00:00:01.721", "00:00:04.410"]],
    "transcript": {
        "text": " I guess.",
        "chunks": [{"language": "english", "text": " I guess.", "timestamp": (0.0, 3.2)}],
    },
}
FIRST = Interval(start_ms=1721, end_ms=4410)


def test_a_plain_record_is_read_without_issues():
    read = read_annotation(RECORD)
    assert (read.label, read.annotator, read.intervals, read.issues) == (1, "AB", (FIRST,), ())
    assert read.annotated[0].certainty == 2
    assert read.annotated[0].cues == (("facial", "frown"),)
    assert read.phrases == (Phrase(text="I guess.", start_ms=0, end_ms=3200),)


def _issues(**changes) -> tuple[str, ...]:
    return read_annotation(RECORD | changes).issues


def test_a_video_level_label_without_times_is_surfaced():
    read = read_annotation({"global_ah": 1, "time_detailed_ah": []})
    assert (read.label, read.intervals) == (1, ())
    assert read.issues == ("labelled A/H, but no interval says when",)


def test_a_negative_label_with_intervals_is_surfaced_and_neither_is_changed():
    read = read_annotation(RECORD | {"global_ah": 0})
    assert (read.label, read.intervals) == (0, (FIRST,))
    assert read.issues == ("labelled as without A/H, but has 1 A/H intervals",)


@pytest.mark.parametrize("label", [None, "1", 2, -1, 1.0, [1]])
def test_a_label_that_is_not_0_or_1_leaves_the_video_unlabelled(label):
    read = read_annotation(RECORD | {"global_ah": label})
    assert read.label is None
    assert any("global_ah" in issue for issue in read.issues)


def test_lists_of_different_lengths_keep_every_interval():
    pair = ["00:00:10.000", "00:00:11.000"]
    read = read_annotation(RECORD | {"time_detailed_ah": [*RECORD["time_detailed_ah"], pair]})
    assert len(read.intervals) == 2
    assert [entry.certainty for entry in read.annotated] == [2, None]
    assert len(read.issues) == 2
    assert "certainty_ah has 1 entries for 2 intervals" in read.issues


def test_an_unusable_interval_is_rejected_with_its_number_and_the_others_stay():
    pairs = [["00:00:03.000", "00:00:02.000"], *RECORD["time_detailed_ah"]]
    read = read_annotation(RECORD | {"time_detailed_ah": pairs})
    assert read.intervals == (FIRST,)
    assert any("interval 1 of 2 rejected: it is reversed" in issue for issue in read.issues)


def test_unsorted_and_overlapping_intervals_are_put_right_and_told():
    pairs = [
        ["00:00:08.000", "00:00:09.000"],
        ["00:00:01.000", "00:00:03.000"],
        ["00:00:02.000", "00:00:04.000"],
    ]
    read = read_annotation(RECORD | {"time_detailed_ah": pairs})
    expected = (Interval(start_ms=1000, end_ms=4000), Interval(start_ms=8000, end_ms=9000))
    assert read.intervals == expected
    assert sum("sorted" in issue or "joined" in issue for issue in read.issues) == 2


def test_a_time_that_yaml_took_for_a_number_is_read_as_seconds():
    read = read_annotation(RECORD | {"time_detailed_ah": [[1.721, 4.41]]})
    assert read.intervals == (FIRST,)


@pytest.mark.parametrize(
    ("cues", "expected"),
    [
        (None, ()),
        ("frown", (("unknown", "frown"),)),
        ({"facial": ["frown", "gaze"]}, (("facial", "frown; gaze"),)),
        ({"facial": {"mouth": "down"}, "audio": 3}, (("facial", "mouth: down"), ("audio", "3"))),
    ],
)
def test_cues_of_any_kind_are_kept_as_text(cues, expected):
    assert read_annotation(RECORD | {"all_cues": [cues]}).annotated[0].cues == expected


@pytest.mark.parametrize("record", [None, [], "text", 3])
def test_a_record_that_is_no_mapping_is_told_and_gives_nothing(record):
    read = read_annotation(record)
    assert (read.label, read.intervals) == (None, ())
    assert "not a mapping" in read.issues[0]


@pytest.mark.parametrize("key", ["time_detailed_ah", "certainty_ah", "all_cues"])
def test_a_list_that_is_none_is_told(key):
    assert any(f"{key} is a str" in issue for issue in _issues(**{key: "soon"}))


def test_issues_never_quote_what_was_said():
    said = {"chunks": [{"text": "private words", "timestamp": None}, {"text": 3}, "private words"]}
    issues = _issues(transcript=said)
    assert issues
    assert "private" not in " ".join(issues)


def _phrases(*times: tuple[int, int | None]) -> list[Phrase]:
    return [Phrase(text="w", start_ms=a, end_ms=b) for a, b in times]


def _times(phrases: tuple[Phrase, ...]) -> list[tuple[int, int | None]]:
    return [(phrase.start_ms, phrase.end_ms) for phrase in phrases]


def test_times_that_restart_count_on_from_what_came_before():
    given_phrases = _phrases((0, 12_000), (12_000, 28_500), (0, 4000), (4000, 29_000), (0, 2000))
    mended, issues = mend_phrases(given_phrases)
    assert _times(mended) == [
        (0, 12_000),
        (12_000, 28_500),
        (28_500, 32_500),
        (32_500, 57_500),
        (57_500, 59_500),
    ]
    assert issues == ("transcript times restart 2 times: made monotone",)


def test_an_open_end_is_closed_by_the_next_start_or_the_end_of_the_video():
    mended, issues = mend_phrases(_phrases((0, None), (5000, None)), duration_ms=9000)
    assert _times(mended) == [(0, 5000), (5000, 9000)]
    assert issues == ("transcript has 2 pieces without an end: closed where possible",)


def test_an_open_end_before_a_restart_lies_at_the_transcribers_window():
    mended, _ = mend_phrases(_phrases((0, 20_000), (20_000, None), (0, 1000)))
    assert _times(mended) == [(0, 20_000), (20_000, 30_000), (30_000, 31_000)]


def test_without_a_duration_the_last_open_end_stays_open():
    mended, _ = mend_phrases(_phrases((0, None)))
    assert _times(mended) == [(0, None)]


@given(
    st.lists(st.tuples(st.integers(0, 40_000), st.none() | st.integers(0, 45_000)), max_size=12),
    st.integers(1, 90_000),
)
def test_mended_times_are_monotone_and_lie_in_the_video(times, duration_ms):
    given_phrases = _phrases(*times)
    mended, _ = mend_phrases(given_phrases, duration_ms)
    assert len(mended) == len(given_phrases)
    starts = [phrase.start_ms for phrase in mended]
    assert starts == sorted(starts)
    for phrase in mended:
        assert phrase.end_ms is not None
        assert 0 <= phrase.start_ms <= phrase.end_ms <= duration_ms


@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(1, 900)), max_size=10))
def test_times_in_order_are_left_as_they_are(steps):
    at_ms, given_phrases = 0, []
    for pause_ms, length_ms in steps:
        given_phrases += _phrases((at_ms + pause_ms, at_ms + pause_ms + length_ms))
        at_ms += pause_ms + length_ms
    assert mend_phrases(given_phrases) == (tuple(given_phrases), ())
