"""A variant: one stage's results under one set of settings, kept as immutable parts."""

import io
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from storage.errors import StoreError
from storage.fingerprint import digest_of
from storage.schema import (
    check_columns,
    from_table,
    read_parquet,
    schema_of,
    to_table,
    write_parquet,
)
from storage.store import Store

Record = TypeVar("Record")


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemOutput:
    """All that a stage made of one item: its rows, and its files as local path by stored path.

    Stored paths are relative to the store's root and belong to this item alone.
    """

    item_id: str
    rows: tuple[Any, ...]
    files: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    part_id: str
    created_ns: int
    items: Mapping[str, str]
    files: Mapping[str, Mapping[str, tuple[int, str]]]
    tables: Mapping[str, tuple[int, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One stage's results under one set of settings.

    An item is finished when a part lists it with the digest of what goes into it today, and every
    file and table of it is there with the content it was written with.
    """

    store: Store
    stage: str
    variant_id: str

    @property
    def path(self) -> str:
        """The variant's folder, relative to the store's root."""
        return f"{self.stage}/{self.variant_id}"

    @property
    def identity_path(self) -> str:
        """Where the settings that make this variant are written."""
        return f"{self.path}/variant.json"

    def file_path(self, name: str) -> str:
        """Name a file of this variant, relative to the store's root."""
        return f"{self.path}/files/{name}"

    def finished(self, wanted: Mapping[str, str]) -> set[str]:
        """Say which wanted items (id to input digest) are there, whole and undamaged."""
        return set(self._owners(wanted))

    def pending(self, wanted: Mapping[str, str]) -> list[str]:
        """List the wanted items that still have to be made, in their given order."""
        there = self.finished(wanted)
        return [item for item in wanted if item not in there]

    def commit(self, outputs: Iterable[ItemOutput], wanted: Mapping[str, str]) -> None:
        """Write items as one part: files, then tables, then the marker that makes it count."""
        outputs = list(outputs)
        if not outputs:
            return
        items = {output.item_id: wanted[output.item_id] for output in outputs}
        part_id = digest_of(items, time.time_ns())[:16]
        files = {output.item_id: self._publish(output.files) for output in outputs}
        tables = {
            record_type.__name__: self._write_table(part_id, record_type, outputs, items)
            for record_type in {type(row) for output in outputs for row in output.rows}
        }
        part = {"items": items, "files": files, "tables": tables, "created_ns": time.time_ns()}
        marker = json.dumps({"part": part, "digest": digest_of(part)})
        self.store.write_bytes(f"{self.path}/done/{part_id}.json", marker.encode())

    def read(self, record_type: type[Record], wanted: Mapping[str, str]) -> list[Record]:
        """Read the rows of the wanted items that are finished."""
        return list(from_table(record_type, self.table(record_type, wanted)))

    def table(self, record_type: type, wanted: Mapping[str, str]) -> pa.Table:
        """Read the wanted items' rows, in their order, with `_item_id` and `_input_digest`."""
        owned: dict[str, list[str]] = {}
        for item, part in self._owners(wanted).items():
            if record_type.__name__ in part.tables:
                owned.setdefault(part.part_id, []).append(item)
        tables = []
        for part_id, items in sorted(owned.items()):
            with self.store.open(self._table_path(part_id, record_type.__name__)) as stream:
                table = read_parquet(pa.BufferReader(stream.read()))
            check_columns(record_type, table)
            tables.append(table.filter(pc.is_in(table["_item_id"], pa.array(items))))
        if not tables:
            return _with_identity(schema_of(record_type)).empty_table()
        together = pa.concat_tables(tables)
        places = pc.index_in(together["_item_id"], pa.array(list(wanted), pa.string()))
        return together.take(pc.array_sort_indices(places))

    def forget(self, wanted: Mapping[str, str]) -> None:
        """Let no part made so far count for these items, so that they are made again.

        One note is written and nothing is removed: other items of the same parts stay finished.
        """
        held = {
            part.part_id: [item for item in part.items if wanted.get(item) == part.items[item]]
            for part in self._parts()
        }
        parts = {part_id: items for part_id, items in held.items() if items}
        if parts:
            note = json.dumps({"parts": parts, "digest": digest_of(parts)})
            name = digest_of(parts, time.time_ns())[:16]
            self.store.write_bytes(f"{self.path}/forgotten/{name}.json", note.encode())

    def _owners(self, wanted: Mapping[str, str]) -> dict[str, _Part]:
        """Map each wanted item to the newest part that holds it whole, for today's input digest."""
        owners: dict[str, _Part] = {}
        forgotten = self._forgotten()
        for part in sorted(self._parts(), key=lambda part: (part.created_ns, part.part_id)):
            mine = [
                item
                for item, digest in part.items.items()
                if wanted.get(item) == digest and (part.part_id, item) not in forgotten
            ]
            if mine and self._tables_are_whole(part):
                owners.update({item: part for item in mine if self._all_whole(part.files[item])})
        return owners

    def _tables_are_whole(self, part: _Part) -> bool:
        return self._all_whole(
            {self._table_path(part.part_id, name): state for name, state in part.tables.items()}
        )

    def _all_whole(self, files: Mapping[str, tuple[int, str]]) -> bool:
        return all(self.store.file_state(path) == tuple(state) for path, state in files.items())

    def _parts(self) -> Iterator[_Part]:
        for path in self.store.list_files(f"{self.path}/done"):
            part = self.store.parsed(path, partial(_part_of, Path(path).stem))
            if part is not None:
                yield part

    def _forgotten(self) -> set[tuple[str, str]]:
        """Gather what no longer counts, as part and item."""
        notes = (
            self.store.parsed(path, _forgotten_of)
            for path in self.store.list_files(f"{self.path}/forgotten")
        )
        return {pair for note in notes if note for pair in note}

    def _publish(self, files: Mapping[str, Path]) -> dict[str, tuple[int, str]]:
        for path, local_path in files.items():
            self.store.publish(local_path, path)
        return {path: self._state_of_written(path) for path in files}

    def _state_of_written(self, path: str) -> tuple[int, str]:
        state = self.store.file_state(path)
        if state is None:
            raise StoreError(f"{path!r} is gone right after it was written to {self.store.url!r}.")
        return state

    def _write_table(
        self, part_id: str, record_type: type, outputs: list[ItemOutput], items: Mapping[str, str]
    ) -> tuple[int, str]:
        rows = [
            (output.item_id, row)
            for output in outputs
            for row in output.rows
            if type(row) is record_type
        ]
        table = to_table(record_type, [row for _, row in rows])
        ids = [item_id for item_id, _ in rows]
        for name, values in (("_item_id", ids), ("_input_digest", [items[i] for i in ids])):
            table = table.append_column(pa.field(name, pa.string(), nullable=False), [values])
        buffer = io.BytesIO()
        write_parquet(table, buffer)
        path = self._table_path(part_id, record_type.__name__)
        self.store.write_bytes(path, buffer.getvalue())
        return self._state_of_written(path)

    def _table_path(self, part_id: str, table_name: str) -> str:
        return f"{self.path}/{table_name}/{part_id}.parquet"


def _part_of(part_id: str, marker: bytes) -> _Part | None:
    """Read a marker; a damaged one is no marker, so that its part is made again."""
    try:
        content = json.loads(marker)
        if content["digest"] != digest_of(content["part"]):
            return None
        return _Part(part_id=part_id, **content["part"])
    except (ValueError, KeyError, TypeError):
        return None


def _forgotten_of(note: bytes) -> tuple[tuple[str, str], ...]:
    """Read what a note forgets; a damaged one forgets nothing, since what it names is whole."""
    try:
        content = json.loads(note)
        if content["digest"] != digest_of(content["parts"]):
            return ()
        return tuple((part, item) for part, items in content["parts"].items() for item in items)
    except (ValueError, KeyError, TypeError, AttributeError):
        return ()


def _with_identity(schema: pa.Schema) -> pa.Schema:
    for name in ("_item_id", "_input_digest"):
        schema = schema.append(pa.field(name, pa.string(), nullable=False))
    return schema
