"""Which files of parts are read, and that damage is found when it must be."""

import os
import time
from pathlib import Path

import pytest

from storage.errors import StoreError
from storage.store import file_identity
from storage.store.file_index import Verification
from storage.store.part import read_parts
from storage.store.store import Store
from storage.store.variant import Variant
from tests.storage.toys import Row, make, open_toy_variant, output

EXPECTED = {f"video {n}": f"digest {n}" for n in range(4)}


@pytest.fixture
def settled(tmp_path, monkeypatch) -> str:
    """A store with four parts whose files' identities count."""
    monkeypatch.setattr(file_identity, "_CLOCK_NS", 20_000_000)
    variant = open_toy_variant(Store(str(tmp_path)))
    make(variant, EXPECTED)
    time.sleep(0.05)
    assert opened(variant.store.url).pending(EXPECTED) == []
    return variant.store.url


def opened(url: str, verification: Verification | None = None) -> Variant:
    """The variant as the next run sees it, which also keeps what it has learned."""
    variant = open_toy_variant(Store(url, verification))
    variant.pending(EXPECTED)
    variant.store.save_indexes()
    return variant


def reads_of(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the tables and files that are read for their digest from now on."""
    reads: list[str] = []
    state = Store.file_state
    monkeypatch.setattr(
        Store, "file_state", lambda self, path, *size: reads.append(path) or state(self, path)
    )
    return reads


def damage_silently(url: str, path: Path) -> None:
    """Flip a bit and have the index believe that the file was read since."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    time.sleep(0.05)
    variant = open_toy_variant(Store(url))
    good = pytest.MonkeyPatch()
    good.setattr("storage.store.intact.PartCheck._is_intact", lambda *_: True)
    variant.pending(EXPECTED)
    good.undo()
    variant.store.save_indexes()
    assert open_toy_variant(Store(url)).pending(EXPECTED) == []


def files_of(url: str, kind: str) -> dict[str, Path]:
    variant = open_toy_variant(Store(url))
    if kind == "file":
        return {item: Path(url, variant.file_path(f"{item}.txt")) for item in EXPECTED}
    parts = read_parts(variant.store, variant.path)
    return {
        next(iter(p.items)): Path(url, variant.path, "Row", f"{p.part_id}.parquet") for p in parts
    }


def test_intact_files_are_not_read_by_later_runs(settled, monkeypatch):
    reads = reads_of(monkeypatch)
    assert opened(settled).pending(EXPECTED) == []
    assert reads == []


def test_files_written_just_now_are_read_by_the_next_look(tmp_path, monkeypatch):
    variant = open_toy_variant(Store(str(tmp_path)))
    make(variant, {"a": "1"})
    reads = reads_of(monkeypatch)
    for _ in range(2):
        assert variant.pending({"a": "1"}) == []
        assert len(reads) == 3
        reads.clear()


def test_only_the_part_with_a_changed_file_is_read(settled, monkeypatch):
    path = files_of(settled, "file")["video 2"]
    path.touch()
    reads = reads_of(monkeypatch)
    assert opened(settled).pending(EXPECTED) == []
    assert {Path(read).stem for read in reads if "/files/" in read} == {"video 2"}


def delete(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def flip(path: Path) -> None:
    facts, content = path.stat(), bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


@pytest.mark.parametrize("damage", [delete, truncate, flip])
@pytest.mark.parametrize("kind", ["file", "table"])
def test_every_run_finds_what_was_removed_or_changed(settled, kind, damage):
    damage(files_of(settled, kind)["video 1"])
    for _ in range(2):
        assert opened(settled).pending(EXPECTED) == ["video 1"]
    make(opened(settled), EXPECTED)
    assert opened(settled).pending(EXPECTED) == []


@pytest.mark.parametrize("kind", ["file", "table"])
def test_damage_that_no_time_shows_is_found_by_a_verification(settled, kind):
    damage_silently(settled, files_of(settled, kind)["video 3"])
    variant = open_toy_variant(Store(settled, Verification(everything=True)))
    assert variant.pending(EXPECTED) == ["video 3"]
    assert variant.store.index("parts").num_silent == 1
    variant.store.save_indexes()
    assert opened(settled).pending(EXPECTED) == ["video 3"]


def test_damage_that_no_time_shows_is_found_within_the_days_of_the_setting(settled, monkeypatch):
    damage_silently(settled, files_of(settled, "file")["video 3"])
    now = time.time_ns
    monkeypatch.setattr("time.time_ns", lambda: now() + 8 * 24 * 3600 * 1_000_000_000)
    assert opened(settled, Verification(days=30)).pending(EXPECTED) == []
    assert opened(settled, Verification(days=7)).pending(EXPECTED) == ["video 3"]


def test_damage_that_no_time_shows_is_found_when_files_are_about_to_be_used(settled):
    damage_silently(settled, files_of(settled, "file")["video 0"])
    variant = opened(settled)
    found = variant.look(EXPECTED)
    assert found.pending == []
    assert found.verify_files(["video 1", "video 2"]) == []
    assert found.verify_files(EXPECTED) == ["video 0"]
    variant.store.save_indexes()
    assert opened(settled).pending(EXPECTED) == ["video 0"], "other runs know as well"


@pytest.mark.parametrize("damage", [delete, flip])
def test_a_table_damaged_since_the_look_is_never_read_as_rows(settled, damage):
    variant = opened(settled)
    found = variant.look(EXPECTED)
    damage(files_of(settled, "table")["video 2"])
    with pytest.raises(StoreError, match=r"is damaged or was removed: run again"):
        found.read(Row)
    assert opened(settled).pending(EXPECTED) == ["video 2"]


def test_a_table_whose_damage_no_time_shows_is_never_read_as_rows(settled):
    damage_silently(settled, files_of(settled, "table")["video 2"])
    with pytest.raises(StoreError, match=r"is damaged or was removed: run again"):
        opened(settled).read(Row, EXPECTED)
    assert opened(settled).pending(EXPECTED) == ["video 2"]


def test_items_of_a_part_are_damaged_one_by_one(tmp_path):
    variant = open_toy_variant(Store(str(tmp_path)))
    with variant.store.staging() as folder:
        variant.commit([output(variant, folder, item) for item in EXPECTED], EXPECTED)
    Path(tmp_path, variant.file_path("video 2.txt")).unlink()
    assert variant.pending(EXPECTED) == ["video 2"]
    assert [row.name for row in variant.read(Row, EXPECTED)] == [
        item for item in EXPECTED if item != "video 2" for _ in range(2)
    ]


def test_a_remote_store_is_looked_at_with_one_listing(tmp_path, monkeypatch):
    variant = open_toy_variant(Store(f"memory://{tmp_path}"))
    make(variant, EXPECTED)
    calls: list[str] = []
    info = type(variant.store.fs).info
    monkeypatch.setattr(
        type(variant.store.fs), "info", lambda fs, path, **o: calls.append(path) or info(fs, path)
    )
    assert variant.pending(EXPECTED) == []
    listed_in_full = [path for path in calls if path.endswith((".txt", ".parquet"))]
    assert len(listed_in_full) <= 4 * 3 * 2, "only to see that nothing changed while it was read"
