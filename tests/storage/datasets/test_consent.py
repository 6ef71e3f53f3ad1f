from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.datasets.consent import PURPOSES, allowed, permission_of, read_answer


@dataclass(frozen=True)
class Row:
    video_id: str
    consent_publications: bool | None
    consent_challenges: bool | None


answers = st.sampled_from([True, False, None])
rows = st.lists(st.builds(Row, st.sampled_from("abcd"), answers, answers))


def test_only_a_yes_to_the_purposes_own_question_is_consent():
    published = Row("a", True, False)
    assert [allowed(published, purpose) for purpose in PURPOSES] == [True, True, False]
    silent = Row("a", None, None)
    assert [allowed(silent, purpose) for purpose in PURPOSES] == [True, False, False]


@given(rows, st.sampled_from(PURPOSES))
def test_every_video_has_one_status_and_one_no_or_unknown_answer_excludes_it(given_rows, purpose):
    permission = permission_of(given_rows, purpose)
    sides = [permission.allowed, permission.declined, permission.unknown]
    assert sum(map(len, sides)) == len(frozenset().union(*sides))
    assert frozenset().union(*sides) == {row.video_id for row in given_rows}
    kept = permission.keep(given_rows)
    assert all(allowed(row, purpose) for row in kept)
    of_kept = {row.video_id for row in kept}
    assert [row for row in given_rows if row.video_id in of_kept] == kept
    for row in given_rows:
        if not allowed(row, purpose):
            assert row.video_id not in permission.allowed


@given(rows)
def test_internal_use_excludes_nothing(given_rows):
    assert permission_of(given_rows, "internal").keep(given_rows) == given_rows


@pytest.mark.parametrize(
    ("written", "answer"),
    [("Yes", True), (" true ", True), ("1", True), ("NO", False), ("false", False), ("0", False),
     ("perhaps", None), ("", None), ("None", None)],
)  # fmt: skip
def test_an_answer_is_yes_or_no_in_the_spellings_of_data_sets(written, answer):
    assert read_answer(written) is answer
