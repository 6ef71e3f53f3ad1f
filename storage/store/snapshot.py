"""What a variant held at one moment: the finished items, and the parts that hold them."""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from storage.errors import StoreError
from storage.fingerprint import digest_bytes
from storage.schema import check_columns, from_table, read_parquet, schema_of
from storage.store.intact import PartCheck
from storage.store.part import Part, read_table, table_path
from storage.store.store import Store

Record = TypeVar("Record")


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The expected items that were finished at one moment, each with the part that holds it."""

    store: Store
    path: str
    expected: Mapping[str, str]
    owners: Mapping[str, Part]

    @property
    def pending(self) -> list[str]:
        """The expected items that were not finished, in their order."""
        return [item for item in self.expected if item not in self.owners]

    def read(self, record_type: type[Record]) -> list[Record]:
        """Read the finished items' rows, in the order of the expected items."""
        return list(from_table(record_type, self.table(record_type)))

    def table(self, record_type: type) -> pa.Table:
        """Read the finished items' rows in order, with columns `_item_id` and `_input_digest`.

        Raises:
            StoreError: a table was removed or damaged since the snapshot, or without a trace.
        """
        owned: dict[str, tuple[Part, list[str]]] = {}
        for item, part in self.owners.items():
            if record_type.__name__ in part.tables:
                owned.setdefault(part.part_id, (part, []))[1].append(item)
        if not owned:
            return _with_identity(schema_of(record_type)).empty_table()
        # One after another from a disk; requests to a remote store are slow: several at once.
        with ThreadPoolExecutor(1 if self.store.is_local else self.store.num_threads) as pool:
            tables = pool.map(
                lambda each: self._read_table(each[0], each[1], record_type),
                (of_part for _, of_part in sorted(owned.items())),
            )
            merged = pa.concat_tables(tables)
        order = pc.index_in(merged["_item_id"], pa.array(list(self.expected), pa.string()))
        return merged.take(pc.array_sort_indices(order))

    def verify_files(self, items: Iterable[str]) -> list[str]:
        """Read the files of some finished items, which are about to be used.

        Returns the items whose files are damaged or missing; they are no longer finished.
        """
        by_part: dict[str, tuple[Part, list[str]]] = {}
        for item in items:
            part = self.owners[item]
            by_part.setdefault(part.part_id, (part, []))[1].append(item)
        check = PartCheck(self.store, self.path)
        with ThreadPoolExecutor(max_workers=self.store.num_threads) as pool:
            found = pool.map(lambda each: check.verify(*each), by_part.values())
            return sorted(item for damaged in found for item in damaged)

    def _read_table(self, part: Part, items: list[str], record_type: type) -> pa.Table:
        """Read the rows of some items of a part."""
        name = record_type.__name__
        content = read_table(self.store, self.path, part, name)
        if (len(content), digest_bytes(content)) != tuple(part.tables[name]):
            PartCheck(self.store, self.path).discard(part)
            self.store.save_indexes()
            path = table_path(self.path, part.part_id, name)
            raise StoreError(
                f"The table {path!r} in {self.store.url!r} is damaged or was removed: run again, "
                "which computes its rows again."
            )
        table = read_parquet(pa.BufferReader(content))
        check_columns(record_type, table)
        if len(items) < len(part.items):
            table = table.filter(pc.is_in(table["_item_id"], pa.array(items)))
        return table


def _with_identity(schema: pa.Schema) -> pa.Schema:
    for name in ("_item_id", "_input_digest"):
        schema = schema.append(pa.field(name, pa.string(), nullable=False))
    return schema
