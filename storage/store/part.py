"""A part: some items of a variant, written together: tables, files, and the marker written last.

<variant>/done/<part>.json       the marker: items, files and tables, each with its digest
<variant>/<Table>/<part>.parquet
<variant>/forgotten/<note>.json  a note: of which parts which items do not count any more
"""

import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from storage.errors import StoreError
from storage.fingerprint import digest_of
from storage.schema import from_table, read_parquet, write_parquet
from storage.store.store import Store

Record = TypeVar("Record")
State = tuple[int, str]
Notes = set[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What a marker tells: items with their input digests, files by item, tables by name.

    Files and tables stand with their size and content digest.
    """

    part_id: str
    created_ns: int
    items: Mapping[str, str]
    files: Mapping[str, Mapping[str, State]]
    tables: Mapping[str, State]


def marker_path(variant_path: str, part_id: str) -> str:
    """Say where a part's marker lies."""
    return f"{variant_path}/done/{part_id}.json"


def table_path(variant_path: str, part_id: str, table_name: str) -> str:
    """Say where a part's table lies."""
    return f"{variant_path}/{table_name}/{part_id}.parquet"


def read_parts(store: Store, variant_path: str) -> Iterator[Part]:
    """Read a variant's markers; a damaged one is no marker, so that its part is made again."""
    for path in marker_paths(store, variant_path):
        part = read_marker(store, path)
        if part is not None:
            yield part


def marker_paths(store: Store, variant_path: str) -> list[str]:
    """List a variant's markers, whatever they hold."""
    return store.list_files(f"{variant_path}/done")


def read_marker(store: Store, path: str) -> Part | None:
    """Read one marker, or None where it is damaged or gone."""
    return store.parsed(path, partial(_part_of, Path(path).stem))


def write_marker(store: Store, variant_path: str, part: Part) -> None:
    """Write the marker that makes a part count."""
    content = {name: value for name, value in asdict(part).items() if name != "part_id"}
    marker = json.dumps({"part": content, "digest": digest_of(content)})
    store.write_bytes(marker_path(variant_path, part.part_id), marker.encode())


def write_table(
    store: Store, variant_path: str, part_id: str, table_name: str, table: pa.Table
) -> State:
    """Write a part's table; gives what the marker tells of it."""
    buffer = io.BytesIO()
    write_parquet(table, buffer)
    path = table_path(variant_path, part_id, table_name)
    store.write_bytes(path, buffer.getvalue())
    return state_of_written(store, path)


def read_rows(
    store: Store, variant_path: str, part: Part, record_type: type[Record]
) -> list[Record]:
    """Read all rows of one kind in a part, whole or not; none where the table cannot be read."""
    path = table_path(variant_path, part.part_id, record_type.__name__)
    if record_type.__name__ not in part.tables or not store.exists(path):
        return []
    try:
        with store.open(path) as stream:
            return list(from_table(record_type, read_parquet(pa.BufferReader(stream.read()))))
    except (pa.ArrowException, OSError):
        return []


def state_of_written(store: Store, path: str) -> State:
    """Give size and digest of a file that was just written.

    Raises:
        StoreError: it is gone already.
    """
    state = store.file_state(path)
    if state is None:
        raise StoreError(f"{path!r} is gone right after it was written to {store.url!r}.")
    return state


def all_intact(store: Store, files: Mapping[str, State]) -> bool:
    """Say whether all files have the content that they were written with."""
    return all(store.file_state(path) == tuple(state) for path, state in files.items())


def tables_are_intact(store: Store, variant_path: str, part: Part) -> bool:
    """Say whether all tables of a part have the content that they were written with."""
    return all_intact(
        store,
        {table_path(variant_path, part.part_id, name): s for name, s in part.tables.items()},
    )


def read_notes(store: Store, variant_path: str) -> Notes:
    """Gather what no longer counts in a variant, as part and item."""
    notes = (store.parsed(path, note_of) for path in store.list_files(f"{variant_path}/forgotten"))
    return {pair for note in notes if note for pair in note}


def write_note(
    store: Store, variant_path: str, name: str, erased: Iterable[tuple[str, str]]
) -> None:
    """Write down that these items of these parts do not count any more."""
    parts: dict[str, list[str]] = {}
    for part_id, item in sorted(erased):
        parts.setdefault(part_id, []).append(item)
    note = json.dumps({"parts": parts, "digest": digest_of(parts)})
    store.write_bytes(f"{variant_path}/forgotten/{name}.json", note.encode())


def _part_of(part_id: str, marker: bytes) -> Part | None:
    try:
        content = json.loads(marker)
        if content["digest"] != digest_of(content["part"]):
            return None
        return Part(part_id=part_id, **content["part"])
    except (ValueError, KeyError, TypeError):
        return None


def note_of(note: bytes) -> tuple[tuple[str, str], ...]:
    """Read what a note forgets; a damaged one forgets nothing, since what it names is whole."""
    try:
        content = json.loads(note)
        if content["digest"] != digest_of(content["parts"]):
            return ()
        return tuple((part, item) for part, items in content["parts"].items() for item in items)
    except (ValueError, KeyError, TypeError, AttributeError):
        return ()
