"""A part: items of a variant that were committed together, as tables, files and a marker.

<variant>/done/<part>.json          the marker, written last: items, files and tables with digests
<variant>/<Table>/<part>.parquet
<variant>/invalidated/<name>.json   a tombstone: items of parts that count no longer
"""

import contextlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from storage.errors import StoreError
from storage.fingerprint import digest_bytes, digest_file, digest_of
from storage.schema import from_table, read_parquet, write_parquet
from storage.store.file_identity import Identity
from storage.store.store import Store

Record = TypeVar("Record")
State = tuple[int, str]
Tombstones = set[tuple[str, str]]
Written = MutableMapping[str, Identity | None]  # what a remote store reported of what was written


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The content of a marker: input digests by item, files by item, and tables by name.

    Files and tables come with their size in bytes and content digest.
    """

    part_id: str
    created_ns: int
    items: Mapping[str, str]
    files: Mapping[str, Mapping[str, State]]
    tables: Mapping[str, State]

    @property
    def num_bytes(self) -> int:
        """The size of the part's tables and files."""
        files = (state for of_item in self.files.values() for state in of_item.values())
        return sum(size for size, _ in (*self.tables.values(), *files))


def marker_path(variant_path: str, part_id: str) -> str:
    """Return the path of a part's marker."""
    return f"{variant_path}/done/{part_id}.json"


def table_path(variant_path: str, part_id: str, table_name: str) -> str:
    """Return the path of a part's table."""
    return f"{variant_path}/{table_name}/{part_id}.parquet"


def read_parts(store: Store, variant_path: str) -> Iterator[Part]:
    """Read a variant's markers; skips damaged ones, whose items are then computed again."""
    listed = store.list_identities(f"{variant_path}/done")
    if store.is_local:
        parts = (read_marker(store, path) for path in listed)
        yield from (part for part in parts if part is not None)
        return
    # Requests to a remote store are slow: several at once.
    with ThreadPoolExecutor(store.num_threads) as pool:
        found = pool.map(partial(read_marker, store), listed, listed.values())
        yield from [part for part in found if part is not None]


def marker_paths(store: Store, variant_path: str) -> list[str]:
    """List a variant's markers, including damaged ones."""
    return store.list_files(f"{variant_path}/done")


def read_marker(store: Store, path: str, identity: Identity | None = None) -> Part | None:
    """Read one marker, of this identity if known; returns ``None`` if it is damaged or missing."""
    parse = partial(_parse_marker, Path(path).stem)
    if store.copies is None or identity is None:
        return store.parsed(path, parse, identity)
    return store.parsed(path, parse, identity, partial(store.copies.read_marker, path, identity))


def write_marker(store: Store, variant_path: str, part: Part) -> None:
    """Write the marker that makes a part count."""
    content = {name: value for name, value in asdict(part).items() if name != "part_id"}
    marker = json.dumps({"part": content, "digest": digest_of(content)})
    store.write_bytes(marker_path(variant_path, part.part_id), marker.encode())


def write_table(
    store: Store,
    variant_path: str,
    part_id: str,
    table_name: str,
    table: pa.Table,
    written: Written | None = None,
) -> State:
    """Write a part's table; returns its size and digest for the marker."""
    buffer = io.BytesIO()
    write_parquet(table, buffer)
    path, content = table_path(variant_path, part_id, table_name), buffer.getvalue()
    identity = store.write_bytes(path, content)
    if written is not None:
        written[path] = identity
    if not store.is_local:
        return len(content), digest_bytes(content)
    return state_of_written(store, path)


def publish_file(store: Store, local_path: Path, path: str, written: Written) -> State:
    """Move a part's file into the store; returns its size and digest for the marker.

    A local disk is read again, as it may keep other content than it was given; a remote store
    compares a checksum before it accepts an object.
    """
    if store.is_local:
        store.publish(local_path, path)
        return state_of_written(store, path)
    state = local_path.stat().st_size, digest_file(local_path)
    written[path] = store.publish(local_path, path)
    return state


def read_table(store: Store, variant_path: str, part: Part, table_name: str) -> bytes:
    """Read the content of a part's table; empty if it is missing."""
    path = table_path(variant_path, part.part_id, table_name)
    with contextlib.suppress(FileNotFoundError):
        if store.copies is None:
            return store.read_bytes(path)
        states = {table_path(variant_path, part.part_id, n): s for n, s in part.tables.items()}
        return store.copies.read_table(f"{variant_path}/{part.part_id}", path, states)
    return b""


def read_rows(
    store: Store, variant_path: str, part: Part, record_type: type[Record]
) -> list[Record]:
    """Read one table of a part without checking its digest; returns no rows if it is unreadable."""
    path = table_path(variant_path, part.part_id, record_type.__name__)
    if record_type.__name__ not in part.tables:
        return []
    try:
        with store.open(path) as stream:
            return list(from_table(record_type, read_parquet(pa.BufferReader(stream.read()))))
    except (pa.ArrowException, OSError):
        return []


def state_of_written(store: Store, path: str) -> State:
    """Return size and digest of a file that was just written.

    Raises:
        StoreError: the file is already gone.
    """
    state = store.file_state(path)
    if state is None:
        raise StoreError(f"{path!r} was removed from {store.url!r} right after it was written.")
    return state


def all_intact(store: Store, files: Mapping[str, State]) -> bool:
    """Return whether all files still have the size and digest they were written with."""
    return all(store.file_state(path) == tuple(state) for path, state in files.items())


def tables_are_intact(store: Store, variant_path: str, part: Part) -> bool:
    """Return whether all tables of a part still have the content they were written with."""
    return all_intact(
        store,
        {table_path(variant_path, part.part_id, name): s for name, s in part.tables.items()},
    )


def tombstone_folder(variant_path: str) -> str:
    """Return the folder of a variant's tombstones."""
    return f"{variant_path}/invalidated"


def read_tombstones(store: Store, variant_path: str) -> Tombstones:
    """Read which (part, item) pairs of a variant were invalidated."""
    listed = store.list_identities(tombstone_folder(variant_path))
    tombstones = (store.parsed(path, parse_tombstone, known) for path, known in listed.items())
    return {pair for tombstone in tombstones if tombstone for pair in tombstone}


def write_tombstone(
    store: Store, variant_path: str, name: str, invalidated: Iterable[tuple[str, str]]
) -> None:
    """Record that these (part, item) pairs count no longer."""
    parts: dict[str, list[str]] = {}
    for part_id, item in sorted(invalidated):
        parts.setdefault(part_id, []).append(item)
    tombstone = json.dumps({"parts": parts, "digest": digest_of(parts)})
    store.write_bytes(f"{tombstone_folder(variant_path)}/{name}.json", tombstone.encode())


def parse_tombstone(content: bytes) -> tuple[tuple[str, str], ...]:
    """Return a tombstone's (part, item) pairs; a damaged one invalidates nothing."""
    try:
        tombstone = json.loads(content)
        parts = tombstone["parts"]
        if tombstone["digest"] != digest_of(parts):
            return ()
        return tuple((part, item) for part, items in parts.items() for item in items)
    except (ValueError, KeyError, TypeError, AttributeError):
        return ()


def _parse_marker(part_id: str, marker: bytes) -> Part | None:
    try:
        content = json.loads(marker)
        if content["digest"] != digest_of(content["part"]):
            return None
        return Part(part_id=part_id, **content["part"])
    except (ValueError, KeyError, TypeError):
        return None
