import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.datasets.bah.names import participant_of, question_of, release_key
from storage.identity import participant_key
from storage.issues import Issue, IssueKind
from tests.spellings import participants, spellings_of

NAME = "Videos/{0}/Visite_1/{0}_Question_4_2024-01-01_10-00-00_Video.mp4"
IN_FOLDER = "Videos/{0}/Visite_1/P_Question_4_2024-01-01_10-00-00_Video.mp4"


@pytest.mark.parametrize(
    "name",
    [
        "{0}/Visite 1/{0}_Question_4_2024-01-01_10-00-00_Video.mp4",
        "./Videos/{0}/Visite\u00a01/{0}_Question_4_2024-01-01_10-00-00_Video.mp4",
        "videos/{0}/VISITE  1/{0}_question_4_2024-01-01_10-00-00_video.MP4",
    ],
)
def test_the_layouts_of_releases_have_one_key(name):
    assert release_key(name.format("90001")) == release_key(NAME.format("90001"))
    assert release_key(name.format("90002")) != release_key(NAME.format("90001"))


@given(participants.flatmap(lambda who: st.tuples(st.just(who), spellings_of(who))))
def test_any_spelling_of_the_participant_gives_the_key_and_no_contradiction(pair):
    who, respelled = pair
    assert release_key(IN_FOLDER.format(respelled)) == release_key(IN_FOLDER.format(who))
    issues: list[Issue] = []
    path = f"{respelled}/Visite_1/{who}_Question_4_Video.mp4"
    found = participant_of(path, issues)
    assert found is not None
    assert participant_key(found) == participant_key(who)
    assert question_of(path, issues) == 4
    assert issues == []


@pytest.mark.parametrize(
    ("path", "who", "kind"),
    [
        ("Videos/1/2_Question_3.mp4", "1", IssueKind.PARTICIPANT_CONTRADICTED),
        ("Videos/2_Question_3.mp4", "2", IssueKind.NO_PARTICIPANT),
        ("a.mp4", None, IssueKind.NO_PARTICIPANT),
    ],
)
def test_a_participant_that_is_missing_or_contradicted_is_an_issue(path, who, kind):
    issues: list[Issue] = []
    assert participant_of(path, issues) == who
    assert [issue.kind for issue in issues] == [kind]


@pytest.mark.parametrize("name", ["x.mp4", "1_Question_0_a.mp4", "1_Question_8.mp4"])
def test_a_name_without_a_question_from_one_to_seven_is_an_issue(name):
    issues: list[Issue] = []
    assert question_of(name, issues) is None
    assert [issue.kind for issue in issues] == [IssueKind.NO_QUESTION]
