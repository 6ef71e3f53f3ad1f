"""A variant: one stage's results under one set of settings, kept as immutable parts."""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from storage.fingerprint import digest_of
from storage.schema import check_columns, from_table, read_parquet, schema_of, to_table
from storage.store.atomic import temporary_name
from storage.store.part import (
    Part,
    State,
    all_intact,
    read_notes,
    read_parts,
    state_of_written,
    table_path,
    tables_are_intact,
    write_marker,
    write_note,
    write_table,
)
from storage.store.store import Store

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

    def keep_log(self, log_path: Path) -> str | None:
        """Move what libraries printed to the variant's logs, which forgetting anybody removes.

        Gives where it is kept; ``None`` if there is no such file.
        """
        if not log_path.is_file():
            return None
        at = f"{time.strftime('%Y%m%dT%H%M%S')}-{temporary_name()}"  # several machines keep theirs
        kept = f"{self.path}/logs/{at}-{log_path.name}"
        self.store.publish(log_path, kept)
        return self.store.full_path(kept)

    def finished(self, expected: Mapping[str, str]) -> set[str]:
        """Say which wanted items (id to input digest) are there, whole and undamaged."""
        return set(self._owners(expected))

    def pending(self, expected: Mapping[str, str]) -> list[str]:
        """List the wanted items that still have to be made, in their given order."""
        there = self.finished(expected)
        return [item for item in expected if item not in there]

    def commit(self, outputs: Iterable[ItemOutput], expected: Mapping[str, str]) -> None:
        """Write items as one part: files, then tables, then the marker that makes it count."""
        outputs = list(outputs)
        if not outputs:
            return
        items = {output.item_id: expected[output.item_id] for output in outputs}
        part_id = digest_of(items, time.time_ns())[:16]
        files = {output.item_id: self._publish(output.files) for output in outputs}
        tables = {
            record_type.__name__: self._write_table(part_id, record_type, outputs, items)
            for record_type in {type(row) for output in outputs for row in output.rows}
        }
        part = Part(
            part_id=part_id, created_ns=time.time_ns(), items=items, files=files, tables=tables
        )
        write_marker(self.store, self.path, part)

    def read(self, record_type: type[Record], expected: Mapping[str, str]) -> list[Record]:
        """Read the rows of the wanted items that are finished."""
        return list(from_table(record_type, self.table(record_type, expected)))

    def table(self, record_type: type, expected: Mapping[str, str]) -> pa.Table:
        """Read the wanted items' rows, in their order, with `_item_id` and `_input_digest`."""
        owned: dict[str, list[str]] = {}
        for item, part in self._owners(expected).items():
            if record_type.__name__ in part.tables:
                owned.setdefault(part.part_id, []).append(item)
        tables = []
        for part_id, items in sorted(owned.items()):
            with self.store.open(table_path(self.path, part_id, record_type.__name__)) as stream:
                table = read_parquet(pa.BufferReader(stream.read()))
            check_columns(record_type, table)
            tables.append(table.filter(pc.is_in(table["_item_id"], pa.array(items))))
        if not tables:
            return _with_identity(schema_of(record_type)).empty_table()
        together = pa.concat_tables(tables)
        locations = pc.index_in(together["_item_id"], pa.array(list(expected), pa.string()))
        return together.take(pc.array_sort_indices(locations))

    def invalidate(self, expected: Mapping[str, str]) -> None:
        """Let no part made so far count for these items, so that they are made again.

        One note is written and nothing is removed: other items of the same parts stay finished.
        """
        held = [
            (part.part_id, item)
            for part in read_parts(self.store, self.path)
            for item, digest in part.items.items()
            if expected.get(item) == digest
        ]
        if held:
            write_note(self.store, self.path, digest_of(held, time.time_ns())[:16], held)

    def _owners(self, expected: Mapping[str, str]) -> dict[str, Part]:
        """Map each wanted item to the newest part that holds it whole, for today's input digest."""
        owners: dict[str, Part] = {}
        erased = read_notes(self.store, self.path)
        for part in sorted(
            read_parts(self.store, self.path), key=lambda part: (part.created_ns, part.part_id)
        ):
            mine = [
                item
                for item, digest in part.items.items()
                if expected.get(item) == digest and (part.part_id, item) not in erased
            ]
            if mine and tables_are_intact(self.store, self.path, part):
                owners.update(
                    {item: part for item in mine if all_intact(self.store, part.files[item])}
                )
        return owners

    def _publish(self, files: Mapping[str, Path]) -> dict[str, State]:
        for path, local_path in files.items():
            self.store.publish(local_path, path)
        return {path: state_of_written(self.store, path) for path in files}

    def _write_table(
        self, part_id: str, record_type: type, outputs: list[ItemOutput], items: Mapping[str, str]
    ) -> State:
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
        return write_table(self.store, self.path, part_id, record_type.__name__, table)


def open_variant(
    store: Store,
    stage: str,
    *,
    version: int,
    settings: Mapping[str, Any],
    upstream: Sequence[str] = (),
) -> Variant:
    """Open a stage's variant for these settings and upstream variants; creates it if missing."""
    identity = {
        "stage": stage,
        "version": version,
        "settings": dict(settings),
        "upstream": list(upstream),
    }
    variant = Variant(store=store, stage=stage, variant_id=digest_of(identity)[:12])
    if not store.exists(variant.identity_path):
        text = json.dumps(identity, indent=2, sort_keys=True, ensure_ascii=False)
        store.write_bytes(variant.identity_path, text.encode())
    return variant


def _with_identity(schema: pa.Schema) -> pa.Schema:
    for name in ("_item_id", "_input_digest"):
        schema = schema.append(pa.field(name, pa.string(), nullable=False))
    return schema
