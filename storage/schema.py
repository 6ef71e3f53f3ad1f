"""Records to Parquet and back: the schema comes from the record class and is checked on read."""

import types
import typing
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from enum import StrEnum
from functools import cache, partial
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from storage.errors import StoreError

Record = TypeVar("Record")

_SCALARS: dict[type, pa.DataType] = {
    int: pa.int64(),
    float: pa.float64(),
    str: pa.string(),
    bool: pa.bool_(),
    bytes: pa.binary(),
}


def _arrow_type(annotation: Any) -> tuple[pa.DataType, bool]:
    """Return the Arrow type of an annotation, and whether it is nullable."""
    while hasattr(annotation, "__supertype__"):  # NewType
        annotation = annotation.__supertype__
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        (inner,) = [a for a in arguments if a is not type(None)]
        return _arrow_type(inner)[0], True
    if origin is tuple:
        return pa.list_(pa.field("element", _arrow_type(arguments[0])[0], nullable=False)), False
    if _is_enum(annotation):
        return pa.string(), False
    if is_dataclass(annotation):
        return pa.struct(list(schema_of(typing.cast(type, annotation)))), False
    if annotation not in _SCALARS:
        raise TypeError(
            f"A record field cannot be of type {annotation!r}: use int, float, str, bool, "
            "bytes, a StrEnum, an optional of these, or a tuple of these or of records."
        )
    return _SCALARS[annotation], False


def _is_enum(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, StrEnum)


@cache
def schema_of(record_type: Any) -> pa.Schema:
    """Derive the Parquet schema of a record class; optional fields become nullable columns."""
    hints = typing.get_type_hints(record_type)
    columns = []
    for field in fields(record_type):
        arrow_type, nullable = _arrow_type(hints[field.name])
        columns.append(pa.field(field.name, arrow_type, nullable=nullable))
    return pa.schema(columns)


def to_plain(value: Any) -> Any:
    """Convert records, also nested ones, to dictionaries and lists; faster than `asdict`."""
    if is_dataclass(value):
        return {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple):
        return [to_plain(element) for element in value]
    return value


def to_table(record_type: type[Record], records: Iterable[Record]) -> pa.Table:
    """Convert records to a table with their class's schema."""
    rows = [to_plain(record) for record in records]
    return pa.Table.from_pylist(rows, schema=schema_of(typing.cast(Any, record_type)))


Convert = Callable[[Any], Any]


def _converter_of(annotation: Any) -> Convert | None:
    """Return what turns a plain value into a field's, or ``None`` if it is the value itself."""
    while hasattr(annotation, "__supertype__"):  # NewType
        annotation = annotation.__supertype__
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        (inner,) = [a for a in arguments if a is not type(None)]
        convert = _converter_of(inner)
        return convert and partial(_or_none, convert)
    if origin is tuple:
        convert = _converter_of(arguments[0])
        return tuple if convert is None else partial(_all_of, convert)
    if is_dataclass(annotation):
        return partial(_record_from, annotation)
    return partial(_enum_from, annotation) if _is_enum(annotation) else None


def _or_none(convert: Convert, value: Any) -> Any:
    return None if value is None else convert(value)


def _all_of(convert: Convert, values: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(map(convert, values))


def _enum_from(names: type[StrEnum], value: str) -> StrEnum:
    try:
        return names(value)
    except ValueError as error:
        raise StoreError(
            f"A table contains {value!r}, which is not one of {names.__name__}: it was written by "
            "another version; run the stage again with --force STAGE."
        ) from error


@cache
def _converters(record_type: Any) -> dict[str, Convert | None]:
    hints = typing.get_type_hints(record_type)
    return {name: _converter_of(hint) for name, hint in hints.items()}


def _record_from(record_type: Any, row: dict[str, Any]) -> Any:
    converters = _converters(record_type).items()
    return record_type(
        **{name: convert(row[name]) if convert else row[name] for name, convert in converters}
    )


def check_columns(record_type: type, table: pa.Table) -> None:
    """Raise if a table lacks a column of a record class.

    Raises:
        StoreError: a column is missing or has another type.
    """
    for column in schema_of(record_type):
        index = table.schema.get_field_index(column.name)
        if index < 0 or table.schema.field(index).type != column.type:
            raise StoreError(
                f"A table of {record_type.__name__} has no column {column.name!r} of type "
                f"{column.type}: it was written by another version; run the stage again with "
                "--force STAGE."
            )


def from_table(record_type: type[Record], table: pa.Table) -> Iterator[Record]:
    """Convert a table to records; ignores columns that are not in the class.

    Raises:
        StoreError: a column is missing or has another type.
    """
    check_columns(record_type, table)
    converters = _converters(typing.cast(Any, record_type))
    columns = []
    for name, convert in converters.items():
        values = table[name].to_pylist()
        columns.append(map(convert, values) if convert else values)
    for row in zip(*columns, strict=True):
        yield record_type(**dict(zip(converters, row, strict=True)))


def write_parquet(table: pa.Table, sink: Any) -> None:
    """Write a zstd-compressed table to a path or binary file."""
    pq.write_table(table, sink, compression="zstd")


def read_parquet(source: Any, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a Parquet file on the calling thread, as tables are small and many."""
    with pq.ParquetFile(source) as file:
        return file.read(columns=list(columns) if columns else None, use_threads=False)
