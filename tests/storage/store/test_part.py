import random
from dataclasses import replace

import pytest

from storage.schema import to_table
from storage.store.part import (
    Part,
    all_intact,
    marker_path,
    parse_tombstone,
    read_parts,
    read_rows,
    read_tombstones,
    table_path,
    tables_are_intact,
    write_marker,
    write_table,
    write_tombstone,
)
from storage.store.store import Store
from tests.storage.toys import Fact, Row

PART = Part(part_id="p", created_ns=7, items={"a b": "1"}, files={"a b": {}}, tables={})


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(str(tmp_path))


def with_table(store: Store) -> Part:
    facts = to_table(Fact, [Fact(name="ü")])
    return replace(PART, tables={"Fact": write_table(store, "toy/v", "p", "Fact", facts)})


def test_a_marker_is_read_as_it_was_written(store):
    part = with_table(store)
    write_marker(store, "toy/v", part)
    (read,) = read_parts(Store(store.url), "toy/v")
    assert (read.part_id, read.created_ns, read.items) == ("p", 7, {"a b": "1"})
    assert tables_are_intact(store, "toy/v", read)
    assert read_rows(store, "toy/v", read, Fact) == [Fact(name="ü")]
    assert read_rows(store, "toy/v", read, Row) == []


def test_a_damaged_marker_is_skipped(store):
    write_marker(store, "toy/v", PART)
    path = marker_path("toy/v", "p")
    whole = store.open(path).read()
    dice = random.Random(3)
    for _ in range(20):
        changed = bytearray(whole)
        changed[dice.randrange(len(whole))] ^= 1
        store.write_bytes(path, bytes(changed))
        assert [part.items for part in read_parts(store, "toy/v")] in ([], [PART.items])


@pytest.mark.parametrize("content", [None, b"", b"PAR1 PAR1"])
def test_a_missing_or_damaged_table_is_not_intact_and_has_no_rows(store, content):
    part = with_table(store)
    path = table_path("toy/v", "p", "Fact")
    store.remove(path)
    if content is not None:
        store.write_bytes(path, content)
    assert not tables_are_intact(store, "toy/v", part)
    assert read_rows(store, "toy/v", part, Fact) == []


def test_tombstones_add_up_and_a_damaged_one_invalidates_nothing(store):
    write_tombstone(store, "toy/v", "one", [("p", "a"), ("q", "a")])
    write_tombstone(store, "toy/v", "two", [("p", "b")])
    store.write_bytes("toy/v/invalidated/three.json", b'{"parts": {"p": ["c"]}, "digest": ""}')
    assert read_tombstones(store, "toy/v") == {("p", "a"), ("q", "a"), ("p", "b")}
    assert parse_tombstone(b"\xff") == ()


def test_no_files_are_intact(store):
    assert all_intact(store, {})
