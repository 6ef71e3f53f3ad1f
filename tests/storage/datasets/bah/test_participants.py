import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.datasets.bah.participants import Participants
from storage.issues import Issue, IssueKind
from tests.spellings import participants, spellings_of

PUBLISH = "Use in publications"


def answer(entries: dict, who: str | None) -> tuple[bool | None, list[IssueKind]]:
    issues: list[Issue] = []
    found = Participants(entries).details_of(who, issues).answer(PUBLISH, issues)
    return found, [issue.kind for issue in issues]


@given(participants.flatmap(lambda who: st.tuples(spellings_of(who), spellings_of(who))))
def test_consent_is_found_under_any_spelling_of_the_participant(pair):
    listed, named = pair
    entries = {listed: {PUBLISH: "No"}, "somebody else": {PUBLISH: "Yes"}}
    assert answer(entries, named) == (False, [])


@pytest.mark.parametrize(
    ("answers", "expected"),
    [(("Yes", "Yes"), True), (("Yes", "No"), False), (("Yes", None), None), ((None, "No"), False)],
)
def test_of_several_spellings_the_strictest_answer_counts(answers, expected):
    details = [{} if given is None else {PUBLISH: given} for given in answers]
    entries = dict(zip(("José", "JOSÉ"), details, strict=True))
    assert answer(entries, "josé")[0] is expected


def test_the_entry_under_the_id_as_spelled_is_used_alone():
    entries = {"p1": {PUBLISH: "No"}, "P1": {PUBLISH: "Yes"}}
    assert answer(entries, "P1") == (True, [])


@pytest.mark.parametrize("who", ["2", None])
def test_a_participant_without_an_entry_is_an_issue(who):
    assert answer({"1": {PUBLISH: "Yes"}, "2": "text"}, who) == (None, [IssueKind.NOT_DETAILED])
    assert answer({}, who) == (None, [])


def test_an_answer_that_is_neither_yes_nor_no_is_unknown_and_an_issue():
    assert answer({"1": {PUBLISH: "maybe"}}, "1") == (None, [IssueKind.CONSENT_UNREADABLE])
