import pytest

from storage.fingerprint import digest_bytes
from storage.store.remote import copies
from storage.store.remote.copies import PartCopies
from storage.store.store import Store

PART = "stage/variant/part"
MARKER = "stage/variant/done/part.json"
TABLES = {f"stage/variant/{name}/part.parquet": name.encode() * 100 for name in ("Row", "Fact")}
STATES = {path: (len(content), digest_bytes(content)) for path, content in TABLES.items()}


@pytest.fixture
def store(bucket: str) -> Store:
    store = Store(f"s3://{bucket}/store")
    for path, content in TABLES.items() | {(MARKER, b"{}")}:
        store.write_bytes(path, content)
    return store


def read_all(store: Store) -> PartCopies:
    assert store.remote is not None
    found = PartCopies(store.remote)
    assert found.read_marker(MARKER, store.identity(MARKER)) == store.read_bytes(MARKER)
    for path, content in TABLES.items():
        assert found.read_table(PART, path, STATES) == content
    return found


def test_a_part_is_read_with_one_request_after_it_was_read_once(store, s3_server):
    read_all(store)
    identity = store.identity(MARKER)
    with s3_server.counted() as counts:
        found = PartCopies(store.remote)
        for _ in range(2):
            found.read_marker(MARKER, identity)
            for path in TABLES:
                found.read_table(PART, path, STATES)
    assert counts == {"LIST": 1, "GET": 1}


def test_a_copy_of_tables_alone_gets_the_marker_when_that_is_read(store, s3_server):
    made_without = PartCopies(store.remote)
    for path in TABLES:
        made_without.read_table(PART, path, STATES)
    identity = store.identity(MARKER)
    assert PartCopies(store.remote).read_marker(MARKER, identity) == store.read_bytes(MARKER)
    with s3_server.counted() as counts:
        found = PartCopies(store.remote)
        assert found.read_marker(MARKER, identity) == b"{}"
        for path, content in TABLES.items():
            assert found.read_table(PART, path, STATES) == content
    assert counts == {"LIST": 1, "GET": 1}


def test_a_marker_that_was_written_again_is_read(store):
    read_all(store)
    store.write_bytes(MARKER, b'{"another": 1}')
    read_all(store)


def test_a_table_of_another_content_is_returned_as_it_is_but_not_copied(store):
    path = next(iter(TABLES))
    store.write_bytes(path, b"another")
    assert PartCopies(store.remote).read_table(PART, path, STATES) == b"another"
    assert store.list_files(".cache/parts/stage/variant") == []


def test_a_missing_table_is_missing(store):
    path = next(iter(TABLES))
    store.remove(path)
    with pytest.raises(FileNotFoundError):
        PartCopies(store.remote).read_table(PART, path, STATES)


def test_little_is_held_in_memory(store, s3_server, monkeypatch):
    monkeypatch.setattr(copies, "_HELD_BYTES", 1_000)
    found = read_all(store)
    for number in range(5):
        other = f"stage/variant/{number}"
        path = f"stage/variant/Row/{number}.parquet"
        store.write_bytes(path, b"r" * 600)
        found.read_table(other, path, {path: (600, digest_bytes(b"r" * 600))})
    with s3_server.counted() as counts:
        read_again = [found.read_table(PART, path, STATES) for path in TABLES]
    assert read_again == list(TABLES.values())
    assert counts == {"GET": 1}
