import os
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from storage.store.file_identity import Identity, identity_of, identity_of_object

SECOND = 1_000_000_000
NOW = 1_800_000_000 * SECOND


def rewrite(path: Path) -> None:
    path.write_bytes(path.read_bytes()[::-1])


def replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(path.read_bytes()[::-1])
    other.replace(path)


def truncate(path: Path) -> None:
    os.truncate(path, 1)


def touch(path: Path) -> None:
    path.touch()


def restore_the_time(path: Path) -> None:
    facts = path.stat()
    rewrite(path)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


@pytest.mark.parametrize("change", [rewrite, replace, truncate, touch, restore_the_time])
def test_every_change_gives_a_file_another_identity(tmp_path, change):
    path = tmp_path / "a"
    path.write_bytes(b"content")
    before = identity_of(path)
    assert identity_of(path) == before
    time.sleep(0.02)  # longer than a tick of the clock that stamps files
    change(path)
    assert identity_of(path) != before


def test_a_link_has_the_identity_of_its_file(tmp_path):
    (tmp_path / "a").write_bytes(b"content")
    (tmp_path / "link").symlink_to("a")
    assert identity_of(tmp_path / "link") == identity_of(tmp_path / "a")


def test_what_is_no_regular_file_has_no_identity(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name in ("missing", "pipe", "."):
        with pytest.raises(OSError, match=name if name != "." else "not a regular file"):
            identity_of(tmp_path / name)


@pytest.mark.parametrize(
    ("modified", "changed", "is_settled"),
    [
        (-3600, -3600, True),
        (-3600, -1, False),
        (-1, -3600, False),
        (0, 0, False),
        (-3600, 3600, False),
        (3600, -3600, True),
        (1, -3600, False),
    ],
)
def test_an_identity_counts_once_its_times_are_older_than_a_tick_of_any_clock(
    modified, changed, is_settled
):
    identity = Identity("", 1, NOW + modified * SECOND, NOW + changed * SECOND)
    assert identity.is_settled(NOW) is is_settled


def test_a_file_just_written_is_not_settled_and_an_old_one_is(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"content")
    assert not identity_of(path).is_settled(time.time_ns())
    assert identity_of(path).is_settled(time.time_ns() + 10 * SECOND)


def an_object(**facts: object) -> dict[str, object]:
    return {"name": "bucket/a", "type": "file", "size": 7} | facts


def test_an_object_is_identified_by_its_etag_at_once():
    identity = identity_of_object(an_object(ETag='"abc"', LastModified=datetime.now(UTC)))
    assert identity.is_settled(time.time_ns())
    assert identity == identity_of_object(an_object(ETag='"abc"'))
    assert identity != identity_of_object(an_object(ETag='"abd"'))
    assert identity != identity_of_object(an_object(ETag='"abc"', size=8))


@pytest.mark.parametrize("name", ["LastModified", "last_modified", "updated", "mtime"])
def test_an_object_without_an_etag_is_identified_by_its_time_once_that_is_old(name):
    old, now = datetime(2020, 1, 1, tzinfo=UTC), datetime.now(UTC)
    assert identity_of_object(an_object(**{name: old})).is_settled(time.time_ns())
    assert not identity_of_object(an_object(**{name: now})).is_settled(time.time_ns())
    assert identity_of_object(an_object(**{name: old.timestamp()})).size == 7


def test_an_object_without_any_stamp_is_another_each_time_and_never_settled():
    one, other = identity_of_object(an_object()), identity_of_object(an_object())
    assert one != other
    assert not one.is_settled(time.time_ns())


def test_a_folder_of_objects_is_not_a_file():
    with pytest.raises(FileNotFoundError):
        identity_of_object(an_object(type="directory"))
