import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.identity import (
    fold,
    group_key,
    name_key,
    names_alike,
    participant_key,
    quote_spelling,
    spellings_by_key,
    video_key,
)
from tests.builders import a_video
from tests.spellings import names, spellings_of

PAIRS = [
    ("José", "Jose\u0301"), ("P 1", "P\u00a01"), ("P 1", "P   1"), ("P1", "P1\u200b"),
    ("P1", " P1\t"), ("P1", "p1"), ("Straße", "STRASSE"), ("Ångström", "A\u030angstro\u0308m"),
    ("é", "e\u200d\u0301"), ("a b", "a\u2009\u3000b"), ("김", "\u1100\u1175\u11b7"),
    ("ﬁ", "FI"), ("x", "\ufeffx\u00ad"), ("ΑΣ", "ας"), ("a b", "a\u2800b"), ("ab", "a\x07b"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_spellings_of_one_name_have_one_key(one, other):
    assert name_key(one) == name_key(other)
    assert participant_key(one) == participant_key(other)
    assert video_key(f"x/{one}/{other}.mp4") == video_key(f"X/{other}/{one}.MP4")


@pytest.mark.parametrize(
    ("one", "other"),
    [("P1", "P2"), ("P 1", "P1"), ("P_1", "P 1"), ("jose", "José"), ("a/b", "a b"), ("1", "10")],
)
def test_different_names_have_different_keys(one, other):
    assert name_key(one) != name_key(other)
    assert participant_key(one) != participant_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("007", "7"), ("P07", "p7"), ("0", "00"), ("01-003", "1-3"), ("P 0x", "p 0X")],
)
def test_leading_zeros_are_no_difference_between_participants_but_between_videos(one, other):
    assert participant_key(one) == participant_key(other)
    if one.casefold() != other.casefold():
        assert video_key(f"{one}.mp4") != video_key(f"{other}.mp4")


@pytest.mark.parametrize(("one", "other"), [("70", "7"), ("100", "1"), ("a0", "a"), ("0", "")])
def test_other_zeros_count(one, other):
    assert participant_key(one) != participant_key(other)


@given(names.flatmap(lambda name: st.tuples(st.just(name), spellings_of(name))))
def test_any_spelling_of_a_name_has_its_key(pair):
    name, respelled = pair
    assert name_key(respelled) == name_key(name)
    assert participant_key(respelled) == participant_key(name)


@given(st.text())
def test_a_key_is_its_own_key_and_has_no_trace_of_its_spelling(text):
    for key_of in (name_key, participant_key, video_key):
        key = key_of(text)
        assert key_of(key) == key
        assert unicodedata.is_normalized("NFC", key) or key_of is video_key
    assert fold(text) == fold(text.strip()) == name_key(text)


def test_a_path_is_compared_step_by_step():
    assert video_key("./Videos//P 1 /a.mp4") == "videos/p 1/a.mp4"
    assert video_key("a/b.mp4") != video_key("a b.mp4")


def test_a_group_is_the_participant_or_else_the_video():
    assert group_key(a_video("x.mp4", participant_id="P07")) == "p7"
    assert group_key(a_video("x/É.MP4")) == group_key(a_video("X/e\u0301.mp4"))


def test_spellings_are_listed_by_key():
    found = spellings_by_key(["P1", None, "p1", "2", "P1"])
    assert found == {"p1": ("P1", "p1"), "2": ("2",)}


def test_other_spellings_of_a_name_are_found_in_its_folder(tmp_path):
    for name in ("Jose\u0301.mp4", "JOSÉ.MP4", "jose.mp4"):
        (tmp_path / name).touch()
    assert names_alike(tmp_path / "José.mp4") == ("JOSÉ.MP4", "Jose\u0301.mp4")
    assert names_alike(tmp_path / "jose.mp4") == ()
    assert names_alike(tmp_path / "nowhere" / "a.mp4") == ()


def test_a_quoted_name_shows_how_it_is_spelled():
    assert quote_spelling("José") == "'José'"
    assert quote_spelling("Jose\u0301") == r"'Jose\u0301'"
    assert quote_spelling("a\u00a0b") == r"'a\xa0b'"
    assert quote_spelling("a\u200bb") == r"'a\u200bb'"
