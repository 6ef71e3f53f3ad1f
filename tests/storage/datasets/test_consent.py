from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.datasets.consent import (
    PURPOSES,
    allowed,
    permission_of,
    read_answer,
    reconcile,
    strictest,
)
from storage.issues import IssueKind
from tests.builders import a_video


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
    [("Yes", True), (" true ", True), ("Yes\u00a0\u200b", True),
     ("1", True), ("NO", False), ("false", False), ("0", False),
     ("perhaps", None), ("", None), ("None", None)],
)  # fmt: skip
def test_an_answer_is_yes_or_no_in_the_spellings_of_data_sets(written, answer):
    assert read_answer(written) is answer


@pytest.mark.parametrize("spelling", ["P1", "p1", "P\u200b1", "P01"])
def test_a_no_counts_for_all_videos_of_a_participant_under_any_spelling(spelling):
    videos = [
        a_video("a", participant_id="P1", consent_publications=True, consent_challenges=True),
        a_video("b", participant_id=spelling, consent_publications=False),
        a_video("c", participant_id="P2", consent_publications=True),
        a_video("d", consent_publications=True),
    ]
    reconciled, (issue,) = reconcile(videos)
    assert [video.consent_publications for video in reconciled] == [False, False, True, True]
    assert [video.consent_challenges for video in reconciled] == [True, None, None, None]
    assert issue.kind is IssueKind.CONSENT_CONTRADICTED
    assert issue.detail == "use in publications is no of 'b' and yes of 'a': taken as no"


@given(st.lists(st.tuples(st.sampled_from(["P1", "p1", "2"]), answers)))
def test_nothing_becomes_a_yes_and_whoever_never_declined_keeps_their_answers(given_answers):
    videos = [
        a_video(str(n), participant_id=who, consent_challenges=given)
        for n, (who, given) in enumerate(given_answers)
    ]
    declined = {who.lower() for who, given in given_answers if given is False}
    for before, after in zip(videos, reconcile(videos)[0], strict=True):
        expected = False if before.participant_id.lower() in declined else before.consent_challenges
        assert after.consent_challenges is expected


def test_the_strictest_of_several_answers_is_no_then_unknown_then_yes():
    assert strictest([True, None, False]) is False
    assert strictest([True, None]) is None
    assert strictest([True, True]) is True
    assert strictest([]) is None
