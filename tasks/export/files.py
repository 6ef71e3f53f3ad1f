"""An export's file: CSV or Parquet by its suffix, whole or absent, with its purpose in it."""

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from storage.store.atomic import atomic_file
from storage.store.disk import creating

_GROUP_ROWS = 100_000
_WORDS = {True: "yes", False: "no"}


def write_export(
    path: Path, schema: pa.Schema, tables: Iterable[pa.Table], facts: Mapping[str, str]
) -> int:
    """Write tables of one schema as one file; gives the number of rows.

    ``facts`` (the purpose, what was left out) stand in a Parquet file's metadata as `waver.<name>`.

    Raises:
        StoreError: the place cannot be written, or is full; nothing is left there.
    """
    metadata = {f"waver.{name}": value for name, value in facts.items()}
    with creating(str(path), "--out"), atomic_file(path) as unfinished:
        write = _WRITERS[path.suffix.lower()]
        return write(unfinished, schema.with_metadata(metadata), tables)


def _write_parquet(path: Path, schema: pa.Schema, tables: Iterable[pa.Table]) -> int:
    num_rows = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for table in _in_groups(tables):
            writer.write_table(table.cast(schema))
            num_rows += table.num_rows
    return num_rows


def _in_groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Join small tables: each one written becomes a row group."""
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(each.num_rows for each in waiting) >= _GROUP_ROWS:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def write_csv(path: Path, schema: pa.Schema, tables: Iterable[pa.Table]) -> int:
    """Write tables of one schema as CSV: yes and no for answers, nothing for what is not known."""
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
    return _WORDS[value] if isinstance(value, bool) else value


_WRITERS: Mapping[str, Callable[[Path, pa.Schema, Iterable[pa.Table]], int]] = {
    ".csv": write_csv,
    ".parquet": _write_parquet,
}
