"""Exported files: CSV or Parquet by suffix, written atomically, with their purpose."""

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from storage.store.atomic import atomic_file
from storage.store.disk import creating

_GROUP_ROWS = 100_000
_BOOL_TEXT = {True: "yes", False: "no"}


def write_export(
    path: Path, schema: pa.Schema, tables: Iterable[pa.Table], facts: Mapping[str, str]
) -> int:
    """Write tables of one schema to one file, and return the number of rows.

    ``facts`` (the purpose, what was excluded) become Parquet metadata with keys ``waver.<name>``.

    Raises:
        StoreError: the path cannot be written, or the disk is full; nothing is left behind.
    """
    metadata = {f"waver.{name}": value for name, value in facts.items()}
    with creating(str(path), "--out"), atomic_file(path) as unfinished:
        write = _WRITERS[path.suffix.lower()]
        return write(unfinished, schema.with_metadata(metadata), tables)


def _write_parquet(path: Path, schema: pa.Schema, tables: Iterable[pa.Table]) -> int:
    num_rows = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for table in _row_groups(tables):
            writer.write_table(table.cast(schema))
            num_rows += table.num_rows
    return num_rows


def _row_groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Concatenate small tables: each table written becomes a row group."""
    pending: list[pa.Table] = []
    for table in tables:
        pending.append(table)
        if sum(table.num_rows for table in pending) >= _GROUP_ROWS:
            yield pa.concat_tables(pending)
            pending = []
    if pending:
        yield pa.concat_tables(pending)


def write_csv(path: Path, schema: pa.Schema, tables: Iterable[pa.Table]) -> int:
    """Write tables of one schema as CSV: booleans as yes and no, ``None`` as an empty cell."""
    num_rows = 0
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(schema.names)
        for table in tables:
            columns = [map(_cell, column.to_pylist()) for column in table.columns]
            writer.writerows(zip(*columns, strict=True))
            num_rows += table.num_rows
    return num_rows


def _cell(value: object) -> object:
    return _BOOL_TEXT[value] if isinstance(value, bool) else value


_WRITERS: Mapping[str, Callable[[Path, pa.Schema, Iterable[pa.Table]], int]] = {
    ".csv": write_csv,
    ".parquet": _write_parquet,
}
