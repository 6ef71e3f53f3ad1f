import json
import unicodedata
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.erasure.traces import Traces
from storage.paths import path_key
from storage.schema import to_table
from tests.spellings import participants, spellings_of

VIDEO = "Videos/12/Visite_1/12_Question_4_2024-01-01 10-00-00_Video.mp4"
TWELVE = Traces("12", frozenset({VIDEO}))
ONE = Traces("1", frozenset())


@pytest.mark.parametrize(
    "text",
    [
        VIDEO, f"{VIDEO}#0003", f"{VIDEO}/frame-7.jpg", f"/data/bah/{VIDEO}", f"no file '{VIDEO}'.",
        f"<td>{VIDEO}</td>", "Videos/12/Visite_2/other.mp4", "Videos/12",
        "a,12_Question_7.mp4,1", "segment/ab/files/12_Question_1-ab/0.mp4",
    ],
)  # fmt: skip
def test_text_names_a_participant_by_a_video_or_a_path_component(text):
    assert TWELVE.in_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "12", "12 times", "120/a.mp4", "Videos/112/a.mp4", "_12-00-00", "x12_y", "3.12_z",
        "Videos/7/Visite_1/7_Question_12_2024-12-12_12-12-12_Video.mp4", "12.mp4", f"{VIDEO}x"[-4:],
    ],
)  # fmt: skip
def test_a_number_within_another_name_is_no_participant(text):
    assert not TWELVE.in_text(text)
    assert not ONE.in_text("Videos/7/Visite_1/7_Question_1_10-00-01.mp4#0001")


def test_transcripts_are_searched_for_videos_only():
    assert not TWELVE.in_cell("transcript", "12/7 or 12_")
    assert TWELVE.in_cell("transcript", VIDEO)
    assert TWELVE.in_cell("issue", "lies in 12/")


def test_a_participant_column_is_compared_as_a_whole():
    assert TWELVE.in_cell("participant_id", "12")
    assert not TWELVE.in_cell("participant_id", "120")
    assert not TWELVE.in_cell("index", "12")


def test_a_video_known_to_belong_to_another_participant_is_not_matched_by_name():
    name = "12/from the other session.mp4"
    assert TWELVE.in_cell("video_id", name)
    known = Traces("12", frozenset({VIDEO}), frozenset({name}))
    assert not known.in_cell("video_id", name)
    assert not known.in_cell("segment_id", f"{name}#0001")


def test_a_video_outside_any_folder_differs_from_one_of_the_same_name_inside():
    plain = Traces("ann", frozenset({"a.mp4"}))
    assert plain.in_text("a.mp4")
    assert plain.in_text("left out: a.mp4.")
    assert not plain.in_text("x/a.mp4")
    assert not plain.in_text("ba.mp4")
    assert not plain.in_text("a.mp4v")


def test_stored_files_are_recognized_by_their_videos_key():
    assert TWELVE.in_name(f"segment/ab/files/whatever-{path_key(VIDEO)}-0123/0000.mp4")
    assert not TWELVE.in_name(f"segment/ab/files/whatever-{path_key('another')}-0123/0000.mp4")
    assert not ONE.in_name("segment/ab/files/0001.mp4")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    participant_id: str | None
    transcript: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    number: int
    chosen_on: tuple[str, ...]
    inner: tuple[Inner, ...]


texts = st.sampled_from(["12", "120", VIDEO, "text 12/7", "Videos/12/x", "fine", ""])
inners = st.builds(Inner, participant_id=st.none() | texts, transcript=texts)
outers = st.builds(
    Outer,
    number=st.just(12),
    chosen_on=st.lists(texts, max_size=3).map(tuple),
    inner=st.lists(inners, max_size=2).map(tuple),
)


@given(st.lists(outers, max_size=4))
def test_a_table_matches_if_any_nested_row_matches(records):
    table = to_table(Outer, records)
    rows = table.to_pylist()
    by_hand = [
        any("12/" in text for text in record.chosen_on)
        or any(i.participant_id == "12" or i.transcript == VIDEO for i in record.inner)
        for record in records
    ]
    assert [TWELVE.in_row(row) for row in rows] == by_hand
    assert TWELVE.in_table(table) == any(by_hand)


@settings(max_examples=40, deadline=None)
@given(participants.flatmap(lambda who: st.tuples(spellings_of(who), spellings_of(who))))
def test_every_spelling_of_an_id_and_a_video_is_found(pair):
    erased_as, named = pair
    video = f"Videos/{erased_as}/day 1/a.mp4"
    traces = Traces(erased_as, frozenset({video}))
    assert traces.in_cell("participant_id", named)
    assert traces.in_text(f"no file '{named}/b.mp4'")
    assert traces.in_text(f"left out: {unicodedata.normalize('NFD', video).upper()}.")
    assert traces.in_text(json.dumps({"path": f"x/{named}/b.mp4".replace("\t", " ")}))
    assert not traces.in_text("somebody else/b.mp4")


def test_leading_zeros_count_in_columns_and_in_text_as_the_columns_spell_them():
    seven = Traces("7", frozenset())
    assert seven.in_cell("participant_id", "007")
    assert not seven.in_text("files/007/a.mp4")
    assert Traces("7", frozenset(), other_spellings=frozenset({"007"})).in_text("files/007/a.mp4")
    assert Traces("7", frozenset(), other_spellings=frozenset({"007"})).spellings == ("007", "7")


def test_a_name_that_another_participants_video_spells_otherwise_counts_exactly():
    traces = Traces("ann", frozenset({"a.mp4", "b.mp4"}), frozenset({"A.mp4"}))
    assert traces.in_text("see a.mp4")
    assert not traces.in_text("see A.mp4")
    assert traces.in_text("see B.MP4")
