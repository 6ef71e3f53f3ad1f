import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.datasets.dataset import Dataset
from storage.datasets.erased import (
    PATH,
    digests_of_participant,
    exclude_erased,
    mark_erased,
    read_erased,
    unmark_erased,
)
from storage.errors import StoreError
from storage.issues import Issue, IssueKind
from storage.store.store import Store
from tests.builders import a_video
from tests.spellings import participants, spellings_of


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


def test_a_store_that_erased_nobody_excludes_nobody(store):
    assert "12" not in read_erased(store)
    assert not store.exists(PATH)


def test_an_erased_participant_is_known_to_other_stores_and_can_be_restored(store):
    for who in ("12", "ann", "12"):
        mark_erased(store, who)
    known = read_erased(Store(store.url))
    assert ("12" in known, "ann" in known, "1" in known, None in known) == (
        True,
        True,
        False,
        False,
    )
    assert unmark_erased(store, "12")
    assert not unmark_erased(store, "12")
    assert "12" not in read_erased(store)
    assert "ann" in read_erased(store)


def test_the_file_contains_no_id_and_each_store_has_other_digests(store, tmp_path):
    other = Store(str(tmp_path / "other"))
    for each in (store, other):
        mark_erased(each, "90001")
    assert b"90001" not in store.open(PATH).read()
    assert not read_erased(store).digests & read_erased(other).digests


@pytest.mark.parametrize("content", [b"", b"{}", b'{"salt": 3}', b"\xff"])
def test_a_damaged_file_is_an_error_and_never_restores_a_participant(store, content):
    store.write_bytes(PATH, content)
    with pytest.raises(StoreError, match="damaged"):
        read_erased(store)


def test_videos_and_issues_of_erased_participants_are_excluded(store):
    mark_erased(store, "12")
    videos = tuple(a_video(str(n), participant_id=who) for n, who in enumerate(["12", "120", None]))
    issues = tuple(
        Issue(IssueKind.VIDEO_MISSING, detail)
        for detail in ("Videos/12/a.mp4: no file", "x 12_Question_1.mp4", "Videos/120/b.mp4", "12")
    )
    dataset = Dataset(root=Path(), videos=videos, issues=issues)
    left, message = exclude_erased(dataset, read_erased(store))
    assert message == "1 videos of participants erased from the store were excluded"
    assert left.videos == videos[1:]
    assert left.issues == (*issues[2:], Issue(IssueKind.ERASED, message))
    assert exclude_erased(left, read_erased(store)) == (left, "")


@settings(max_examples=25, deadline=None)
@given(participants.flatmap(lambda who: st.tuples(spellings_of(who), spellings_of(who))))
def test_a_participant_is_excluded_and_restored_under_any_spelling(tmp_path_factory, pair):
    erased_as, named = pair
    store = Store(str(tmp_path_factory.mktemp("store")))
    mark_erased(store, erased_as)
    known = read_erased(store)
    assert named in known
    assert known.in_path(f"skipped: The path 'Videos/{named}/a.mp4' is missing")
    assert known.in_path(f"{named}_Question_1_Video.mp4")
    assert "somebody else" not in known
    dataset = Dataset(root=Path(), videos=(a_video(participant_id=named),), issues=())
    assert exclude_erased(dataset, known)[0].videos == ()
    assert unmark_erased(store, named)
    assert erased_as not in read_erased(store)


def test_an_id_that_an_older_version_digested_as_spelled_stays_excluded(store):
    salt = "00" * 16
    older = hashlib.scrypt(b"P01", salt=bytes.fromhex(salt), n=1 << 11, r=8, p=1, dklen=16).hex()
    store.write_bytes(PATH, json.dumps({"salt": salt, "participants": [older]}).encode())
    assert "P01" in read_erased(store)
    assert older in digests_of_participant(salt, "P01")
    assert unmark_erased(store, "P01")
    assert "P01" not in read_erased(store)


def test_an_issue_that_names_an_erased_participants_video_is_excluded(store):
    mark_erased(store, "ann")
    videos = (a_video("a.mp4", participant_id="ann"), a_video("b.mp4", participant_id="bob"))
    issues = tuple(
        Issue(IssueKind.VIDEO_SPELLED_TWICE, detail)
        for detail in ("'a.mp4' and 'A.mp4' are alike", "'b.mp4' and 'B.mp4'", "ba.mp4")
    )
    left, _ = exclude_erased(Dataset(root=Path(), videos=videos, issues=issues), read_erased(store))
    assert [issue.detail for issue in left.issues[:-1]] == ["'b.mp4' and 'B.mp4'", "ba.mp4"]
