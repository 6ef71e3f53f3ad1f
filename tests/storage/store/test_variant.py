import json
import os
import random
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from storage.errors import StoreError
from storage.store.store import Store
from storage.store.variant import ItemOutput, Variant
from tests.storage.toys import Fact, Row, make, open_toy_variant, output


def part_files(variant: Variant, kind: str) -> dict[str, Path]:
    """Where each item's file, table or marker lies on disk."""
    root = Path(variant.store.root)
    if kind == "file":
        return {path.stem: path for path in (root / variant.path / "files").iterdir()}
    items = {}
    for marker in (root / variant.path / "done").iterdir():
        (item,) = json.loads(marker.read_text())["part"]["items"]
        table = root / variant.path / "Row" / f"{marker.stem}.parquet"
        items[item] = marker if kind == "marker" else table
    return items


def delete(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip_one_bit(path: Path) -> None:
    """Damage a file as a disk would: same size, same time of change."""
    facts, content = path.stat(), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x04
    path.write_bytes(content)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


EXPECTED = {f"video {n}": f"digest {n}" for n in range(5)}


@pytest.fixture
def variant(tmp_path) -> Variant:
    return open_toy_variant(Store(str(tmp_path)))


@pytest.fixture
def full(variant) -> Variant:
    make(variant, EXPECTED)
    return variant


def reopened(variant: Variant) -> Variant:
    """The same variant as another process would see it."""
    return open_toy_variant(Store(variant.store.url))


def test_committed_items_are_finished_and_nothing_is_pending(full):
    assert full.finished(EXPECTED) == set(EXPECTED)
    assert make(reopened(full), EXPECTED) == []


def test_rows_are_read_in_the_order_of_the_expected_items(full):
    turned = dict(reversed(EXPECTED.items()))
    assert [row.name for row in full.read(Fact, turned)] == list(turned)
    assert [(row.name, row.number) for row in full.read(Row, turned)] == [
        (name, number) for name in turned for number in (1, 2)
    ]


def test_only_expected_items_are_read(full):
    some = {"video 3": EXPECTED["video 3"], "video 9": "never made"}
    assert [row.name for row in full.read(Fact, some)] == ["video 3"]


def test_only_an_added_item_is_computed(full):
    assert make(full, EXPECTED | {"video 5": "digest 5"}) == ["video 5"]


def test_items_of_one_part_are_read_together(variant):
    with variant.store.staging() as folder:
        outputs = [output(variant, folder, item) for item in EXPECTED]
        variant.commit(outputs, EXPECTED)
    assert variant.finished(EXPECTED) == set(EXPECTED)
    assert len(variant.store.list_files(f"{variant.path}/done")) == 1


def test_an_item_without_rows_or_files_is_finished_too(variant):
    variant.commit([ItemOutput(item_id="a", rows=())], {"a": "1"})
    assert variant.finished({"a": "1"}) == {"a"}
    assert variant.read(Row, {"a": "1"}) == []


def test_committing_nothing_writes_nothing(variant):
    variant.commit([], EXPECTED)
    assert variant.store.list_files(f"{variant.path}/done") == []


@pytest.mark.parametrize("damage", [delete, truncate, empty, flip_one_bit])
@pytest.mark.parametrize("kind", ["file", "table", "marker"])
def test_damage_is_detected_and_only_that_item_is_computed_again(full, kind, damage):
    damage(part_files(full, kind)["video 2"])
    seen = reopened(full)
    assert seen.pending(EXPECTED) == ["video 2"]
    assert [row.name for row in seen.read(Fact, EXPECTED)] == [
        n for n in EXPECTED if n != "video 2"
    ]
    assert make(seen, EXPECTED) == ["video 2"]
    assert reopened(full).finished(EXPECTED) == set(EXPECTED)


@pytest.mark.parametrize("damage", [delete, truncate])
@pytest.mark.parametrize("kind", ["file", "table", "marker"])
def test_damage_is_detected_by_the_writing_process_too(full, kind, damage):
    damage(part_files(full, kind)["video 2"])
    assert full.pending(EXPECTED) == ["video 2"]


def test_a_flipped_bit_of_a_marker_is_never_accepted_and_raises_nothing(variant):
    make(variant, {"a": "1"})
    (marker,) = part_files(variant, "marker").values()
    whole = marker.read_bytes()
    dice = random.Random(0)
    for position in range(len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 1 << dice.randrange(8)
        marker.write_bytes(changed)
        rows = variant.read(Row, {"a": "1"})
        assert [row.number for row in rows] in ([], [1, 2])
        assert bool(rows) == (variant.finished({"a": "1"}) == {"a"})
        assert not rows or json.loads(changed) == json.loads(whole)


@pytest.mark.parametrize("content", [b"null", b"[]", b"{}", b'{"part": 3, "digest": ""}', b"\xff"])
def test_an_invalid_marker_is_skipped(full, content):
    full.store.write_bytes(f"{full.path}/done/odd.json", content)
    assert full.finished(EXPECTED) == set(EXPECTED)


def test_changed_settings_create_a_new_variant_and_keep_the_old(full):
    other = open_toy_variant(full.store, crf=23)
    assert make(other, EXPECTED) == list(EXPECTED)
    assert full.finished(EXPECTED) == set(EXPECTED)


def test_an_item_with_changed_input_is_computed_again_and_replaces_the_old(full):
    today = EXPECTED | {"video 1": "another digest"}
    assert make(full, today, "again") == ["video 1"]
    notes = {row.name: row.note for row in reopened(full).read(Row, today)}
    assert notes == dict.fromkeys(EXPECTED, "") | {"video 1": "again"}
    assert len(full.read(Fact, today)) == len(EXPECTED)


def test_results_of_old_input_are_never_read_for_new_input(full):
    make(full, EXPECTED | {"video 1": "another digest"}, "again")
    # its file was superseded: yesterday's rows would not fit it
    assert full.pending(EXPECTED) == ["video 1"]
    table = full.table(Row, EXPECTED)
    assert set(table["_item_id"].to_pylist()) == set(EXPECTED) - {"video 1"}
    assert set(table["_input_digest"].to_pylist()) == set(EXPECTED.values()) - {"digest 1"}


def test_a_part_committed_twice_counts_once(full):
    with full.store.staging() as folder:
        full.commit([output(full, folder, "video 0")], EXPECTED)
    assert len(full.read(Row, EXPECTED)) == 2 * len(EXPECTED)


def everything_under(variant: Variant) -> dict[Path, bytes]:
    files = Path(variant.store.root, variant.path).rglob("*")
    return {path: path.read_bytes() for path in files if path.is_file()}


def test_invalidated_items_are_computed_again_and_others_and_all_files_stay(full):
    some = {name: EXPECTED[name] for name in ("video 1", "video 3")}
    before = everything_under(full)
    full.invalidate(some)
    assert before.items() <= everything_under(full).items()
    assert reopened(full).pending(EXPECTED) == list(some)
    assert [row.name for row in full.read(Fact, EXPECTED)] == ["video 0", "video 2", "video 4"]
    assert make(reopened(full), EXPECTED, "again") == list(some)
    notes = {row.name: row.note for row in reopened(full).read(Row, EXPECTED)}
    assert {name for name, note in notes.items() if note == "again"} == set(some)
    full.invalidate(some)
    assert full.pending(EXPECTED) == list(some)


def test_a_run_invalidates_the_same_items_only_once_however_often_it_is_retried(full, variant):
    for run in ("first", "second"):
        full.invalidate(EXPECTED, once_for=run)
        assert full.pending(EXPECTED) == list(EXPECTED)
        make(reopened(full), {"video 1": EXPECTED["video 1"]}, run)
        full.invalidate(EXPECTED, once_for=run)
        assert "video 1" not in reopened(full).pending(EXPECTED)


def test_what_a_run_computed_itself_is_not_invalidated_by_its_retry(variant):
    variant.invalidate(EXPECTED, once_for="run")
    make(variant, EXPECTED, "first attempt")
    variant.invalidate(EXPECTED, once_for="run")
    assert reopened(variant).pending(EXPECTED) == []


def test_invalidating_one_item_of_a_part_keeps_the_rest_of_it(variant):
    with variant.store.staging() as folder:
        variant.commit([output(variant, folder, item) for item in EXPECTED], EXPECTED)
    variant.invalidate({"video 2": EXPECTED["video 2"], "video 4": "of another data set"})
    assert variant.pending(EXPECTED) == ["video 2"]


def test_invalidating_restores_no_older_result(full):
    with full.store.staging() as folder:
        full.commit([output(full, folder, "video 0")], EXPECTED)
    full.invalidate({"video 0": EXPECTED["video 0"]})
    assert full.pending(EXPECTED) == ["video 0"]


def test_invalidating_missing_items_writes_nothing(variant):
    variant.invalidate(EXPECTED)
    assert variant.store.list_files(f"{variant.path}/invalidated") == []


@pytest.mark.parametrize("damage", [delete, truncate, empty])
def test_a_damaged_tombstone_invalidates_nothing(full, damage):
    full.invalidate(EXPECTED)
    (note,) = (Path(full.store.root) / full.path / "invalidated").iterdir()
    damage(note)
    assert reopened(full).finished(EXPECTED) == set(EXPECTED)


def test_a_store_in_memory_behaves_the_same(tmp_path):
    variant = open_toy_variant(Store(f"memory://{tmp_path}"))
    assert make(variant, EXPECTED) == list(EXPECTED)
    assert make(variant, EXPECTED | {"b": "2"}) == ["b"]
    variant.store.remove(variant.file_path("video 3.txt"))
    variant.store.write_bytes(variant.file_path("video 4.txt"), b"file of video 5 ")
    assert make(variant, EXPECTED) == ["video 3", "video 4"]
    assert [row.name for row in variant.read(Fact, EXPECTED)] == list(EXPECTED)


def test_a_table_of_another_version_is_rejected_even_beside_a_current_one(full):
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Later:
        name: str
        number: int
        color: str

    Later.__name__ = "Row"
    full.commit(
        [ItemOutput(item_id="new", rows=(Later(name="n", number=1, color="red"),))], {"new": "1"}
    )
    with pytest.raises(StoreError, match="no column 'color'"):
        full.read(Later, EXPECTED | {"new": "1"})


def test_threads_commit_concurrently(variant):
    expected = {f"v{n}": "1" for n in range(24)}

    def work(items: list[str]) -> None:
        for item in items:
            make(variant, {item: expected[item]})

    threads = [threading.Thread(target=work, args=(list(expected)[n::4],)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert reopened(variant).finished(expected) == set(expected)
    assert len(variant.read(Row, expected)) == 48


def test_logs_with_the_same_name_and_second_are_all_stored(variant, tmp_path, monkeypatch):
    monkeypatch.setattr("storage.store.variant.time.strftime", lambda _: "20260101T000000")
    kept = []
    for text in ("of one node", "of another"):
        (tmp_path / "engine 0.log").write_text(text)
        kept.append(Path(variant.keep_log(tmp_path / "engine 0.log")).read_text())
    assert kept == ["of one node", "of another"]
    logs = Path(variant.store.full_path(variant.path), "logs")
    assert sorted(log.read_text() for log in logs.iterdir()) == sorted(kept)
    assert variant.keep_log(tmp_path / "engine 0.log") is None
