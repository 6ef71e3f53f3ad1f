from pathlib import Path

import pytest

from storage.datasets.dataset import Dataset
from storage.datasets.erased import (
    PATH,
    exclude_erased,
    mark_erased,
    read_erased,
    unmark_erased,
)
from storage.errors import StoreError
from storage.issues import Issue, IssueKind
from storage.store.store import Store
from tests.builders import a_video


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
