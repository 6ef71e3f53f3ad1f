import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from storage.datasets.bah.annotation import read_annotation
from storage.datasets.bah.annotation_cache import AnnotatedVideo
from storage.issues import Issue, IssueKind
from storage.records import Interval
from storage.schema import from_table, to_table

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
WITHIN_ITSELF: list[object] = ["cue"]  # as an alias in the file makes it
WITHIN_ITSELF.append(WITHIN_ITSELF)
FIRST = Interval(start_ms=1721, end_ms=4410)


def test_a_plain_record_is_read_without_issues():
    read = read_annotation(RECORD)
    assert (read.label, read.annotator, read.intervals, read.issues) == (1, "AB", (FIRST,), ())
    assert read.annotated[0].certainty == 2
    assert read.annotated[0].cues == (("facial", "frown"),)


def _issues(**changes) -> tuple[Issue, ...]:
    return read_annotation(RECORD | changes).issues


def _kinds(**changes) -> list[IssueKind]:
    return [issue.kind for issue in _issues(**changes)]


def test_a_video_level_label_without_times_is_an_issue():
    read = read_annotation({"global_ah": 1, "time_detailed_ah": []})
    assert (read.label, read.intervals) == (1, ())
    message = "labeled as A/H, but without an interval"
    assert read.issues == (Issue(IssueKind.POSITIVE_WITHOUT_INTERVALS, message),)


def test_a_negative_label_with_intervals_is_an_issue_and_neither_is_changed():
    read = read_annotation(RECORD | {"global_ah": 0})
    assert (read.label, read.intervals) == (0, (FIRST,))
    message = "labeled as without A/H, but has 1 A/H intervals"
    assert read.issues == (Issue(IssueKind.NEGATIVE_WITH_INTERVALS, message),)


@pytest.mark.parametrize(
    ("times", "is_contradictory"),
    [
        ([["00:00:05.000", "00:00:00.500"]], True), ([["soon", "later"]], True), ("soon", True),
        ([["00:00:05.000", "00:00:05.000"]], False), ([], False), (None, False),
    ],
)  # fmt: skip
def test_a_negative_label_is_contradicted_by_lost_intervals_but_not_by_empty_ones(
    times, is_contradictory
):
    kinds = _kinds(global_ah=0, time_detailed_ah=times, certainty_ah=[])
    assert (IssueKind.NEGATIVE_WITH_INTERVALS in kinds) is is_contradictory


def test_a_positive_video_whose_intervals_were_all_lost_is_not_called_unannotated():
    reversed_times = [["00:00:05.000", "00:00:00.500"]]
    kinds = _kinds(time_detailed_ah=reversed_times)
    assert kinds == [IssueKind.INTERVAL_UNREADABLE]


@pytest.mark.parametrize("label", [1, None])
def test_entries_of_more_intervals_than_there_are_mean_that_one_is_missing(label):
    for entries in ({"certainty_ah": [2, 1]}, {"all_cues": [{"facial": "frown"}] * 2}):
        assert IssueKind.INTERVAL_MISSING in _kinds(global_ah=label, **entries)
    fillers = {"certainty_ah": [2, None], "all_cues": [{"facial": "frown"}, {"facial": None}]}
    assert IssueKind.INTERVAL_MISSING not in _kinds(global_ah=label, **fillers)


def test_entries_of_a_negative_video_are_no_missing_interval():
    record = {"global_ah": 0, "time_detailed_ah": [], "certainty_ah": [0], "all_cues": [{}]}
    assert {issue.kind for issue in read_annotation(record).issues} == {IssueKind.LENGTHS_DIFFER}


@pytest.mark.parametrize("label", ["1", " 1 ", 1.0, True])
def test_the_label_1_is_read_in_any_type(label):
    assert read_annotation(RECORD | {"global_ah": label}) == read_annotation(RECORD)
    assert read_annotation({"global_ah": type(label)(0)}).label == 0


@pytest.mark.parametrize("label", [None, "", "yes", "1.5", 2, -1, 0.5, float("nan"), [1]])
def test_a_label_that_is_not_0_or_1_leaves_the_video_unlabeled(label):
    read = read_annotation(RECORD | {"global_ah": label})
    assert read.label is None
    assert read.issues[0].kind is IssueKind.LABEL_UNREADABLE
    assert "global_ah" in read.issues[0].detail


def test_lists_of_different_lengths_keep_every_interval():
    pair = ["00:00:10.000", "00:00:11.000"]
    read = read_annotation(RECORD | {"time_detailed_ah": [*RECORD["time_detailed_ah"], pair]})
    assert len(read.intervals) == 2
    assert [entry.certainty for entry in read.annotated] == [2, None]
    assert [issue.kind for issue in read.issues] == [IssueKind.LENGTHS_DIFFER] * 2
    assert read.issues[0].detail == "certainty_ah has 1 entries for 2 intervals"


def test_an_invalid_interval_is_rejected_with_its_number_and_the_others_stay():
    pairs = [["00:00:03.000", "00:00:02.000"], *RECORD["time_detailed_ah"]]
    read = read_annotation(RECORD | {"time_detailed_ah": pairs})
    assert read.intervals == (FIRST,)
    details = [i.detail for i in read.issues if i.kind is IssueKind.INTERVAL_UNREADABLE]
    assert details == ["interval 1 of 2 rejected: it is reversed (00:00:03.000 to 00:00:02.000)"]


def test_an_empty_interval_is_distinguished_from_an_unreadable_one():
    empty = [["00:00:03.000", "00:00:03.000"]]
    assert IssueKind.INTERVAL_EMPTY in _kinds(time_detailed_ah=empty)
    assert IssueKind.INTERVAL_UNREADABLE in _kinds(time_detailed_ah=[["soon", "later"]])
    assert not IssueKind.INTERVAL_EMPTY.invalidates
    assert IssueKind.INTERVAL_UNREADABLE.invalidates


def test_unsorted_and_overlapping_intervals_are_repaired_and_reported():
    pairs = [
        ["00:00:08.000", "00:00:09.000"],
        ["00:00:01.000", "00:00:03.000"],
        ["00:00:02.000", "00:00:04.000"],
    ]
    read = read_annotation(RECORD | {"time_detailed_ah": pairs})
    expected = (Interval(start_ms=1000, end_ms=4000), Interval(start_ms=8000, end_ms=9000))
    assert read.intervals == expected
    kinds = {issue.kind for issue in read.issues}
    assert kinds >= {IssueKind.INTERVALS_UNSORTED, IssueKind.INTERVALS_OVERLAP}


def test_a_time_that_yaml_read_as_a_number_is_in_seconds():
    read = read_annotation(RECORD | {"time_detailed_ah": [[1.721, 4.41]]})
    assert read.intervals == (FIRST,)


@pytest.mark.parametrize(
    ("kinds", "named"),
    [
        (("facial", "gaze"), "'gaze'"), (("posture", "gaze"), "'gaze', 'posture'"),
        (("Facial ", "BODY"), None), (("a private remark", "two words"), "an unnamed kind"),
        ((7,), "'7'"),
    ],
)  # fmt: skip
def test_kinds_of_cues_that_the_layout_lacks_are_named_once(kinds, named):
    cues = dict.fromkeys(kinds, "a private remark")
    issues = _issues(all_cues=[cues, cues], time_detailed_ah=[[0, 1], [2, 3]], certainty_ah=[1, 1])
    assert [issue.kind for issue in issues] == ([IssueKind.CUE_KIND_UNKNOWN] if named else [])
    if named:
        assert issues[0].detail.startswith(f"unknown kinds of cues: {named}; expected audio, body")
        assert "private" not in issues[0].detail


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
def test_an_entry_that_is_no_mapping_is_an_issue_and_ignored(record):
    read = read_annotation(record)
    assert (read.label, read.intervals) == (None, ())
    (issue,) = read.issues
    assert issue.kind is IssueKind.ANNOTATION_UNREADABLE
    assert "not a mapping" in issue.detail


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("time_detailed_ah", IssueKind.INTERVAL_UNREADABLE),
        ("certainty_ah", IssueKind.FIELD_UNREADABLE),
        ("all_cues", IssueKind.FIELD_UNREADABLE),
        ("fr_detailed_ah", IssueKind.FIELD_UNREADABLE),
    ],
)
def test_a_field_that_is_no_list_is_an_issue(key, kind):
    details = [issue.detail for issue in _issues(**{key: "soon"}) if issue.kind is kind]
    assert details == [f"{key} is a str, expected a list: ignored"]


def test_frames_that_fit_the_times_are_no_issue():
    assert _issues(fr_detailed_ah=[[51, 132]]) == ()


def test_frames_that_disagree_are_an_issue_and_the_times_are_used():
    read = read_annotation(RECORD | {"fr_detailed_ah": [[51, 95]]})
    assert [issue.kind for issue in read.issues] == [IssueKind.FRAMES_DISAGREE]
    assert read.intervals == (FIRST,)


def test_frames_of_another_number_of_intervals_are_an_issue():
    assert _kinds(fr_detailed_ah=[[51, 132], [300, 310]]) == [IssueKind.INTERVAL_MISSING]
    assert _kinds(fr_detailed_ah=[[51, 132], []]) == [IssueKind.LENGTHS_DIFFER]


def test_issues_never_quote_a_transcript():
    transcript = {
        "chunks": [{"text": "private words", "timestamp": None}, {"text": 3}, "private words"]
    }
    issues = _issues(transcript=transcript)
    assert issues
    assert "private" not in " ".join(issue.detail for issue in issues)


def _values() -> st.SearchStrategy[object]:
    """Anything that a YAML file may hold."""
    leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
    return st.recursive(
        leaves | st.just("00:00:01.000") | st.dates(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.tuples(inner, inner)
            | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3)
        ),
        max_leaves=6,
    )


@given(
    st.fixed_dictionaries(
        {},
        optional={key: _values() for key in (*RECORD, "fr_detailed_ah")}
        | {"time_detailed_ah": st.lists(st.tuples(_values(), _values()) | _values(), max_size=3)}
        | {"transcript": st.fixed_dictionaries({"chunks": st.lists(
            st.fixed_dictionaries({"text": _values(), "timestamp": st.tuples(_values(), _values())})
            | _values(), max_size=3)})},
    )
    | _values()
)  # fmt: skip
@example({"certainty_ah": [2**70], "time_detailed_ah": [["00:00:01.000", "00:00:02.000"]]})
@example({"time_detailed_ah": [[0, 1e300]]})
@example({"time_detailed_ah": [[0, 10**30]]})
@example({"transcript": {"chunks": [{"text": "so", "timestamp": [1e300, 1e301]}]}})
@example({"time_detailed_ah": [[0, 1]], "all_cues": [WITHIN_ITSELF]})
def test_no_entry_stops_the_reader_or_cannot_be_cached(record):
    annotation = read_annotation(record)
    kept = to_table(AnnotatedVideo, [AnnotatedVideo(name="v", annotation=annotation)])
    assert next(from_table(AnnotatedVideo, kept)).annotation == annotation
