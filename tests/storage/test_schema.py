import io
import types
import typing
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import media_records, records, results
from storage.errors import StoreError
from storage.records import IssueRecord
from storage.schema import (
    check_columns,
    from_table,
    read_parquet,
    schema_of,
    to_table,
    write_parquet,
)

RECORD_TYPES = [
    cls
    for module in (media_records, records, results)
    for cls in vars(module).values()
    if is_dataclass(cls)
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    name: str
    weight: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    number: int
    is_small: bool | None
    favorite: Part
    spare: Part | None
    names: tuple[str, ...]
    parts: tuple[Part, ...]


def values_of(annotation: typing.Any) -> st.SearchStrategy[typing.Any]:
    """Any value that a record's field of this type can hold."""
    while hasattr(annotation, "__supertype__"):
        annotation = annotation.__supertype__
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return st.one_of([st.none() if a is type(None) else values_of(a) for a in arguments])
    if origin is tuple:
        return st.lists(values_of(arguments[0]), max_size=3).map(tuple)
    if is_dataclass(annotation):
        return records_of(annotation)
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return st.sampled_from(list(annotation))
    return {
        int: st.integers(-(2**63), 2**63 - 1),
        float: st.floats(allow_nan=False),
        str: st.text(),
        bool: st.booleans(),
        bytes: st.binary(),
    }[annotation]


def records_of(record_type: typing.Any) -> st.SearchStrategy[typing.Any]:
    hints = typing.get_type_hints(record_type)
    return st.builds(record_type, **{name: values_of(hint) for name, hint in hints.items()})


@pytest.mark.parametrize("record_type", [Whole, *RECORD_TYPES], ids=lambda cls: cls.__name__)
@settings(max_examples=15)
@given(values=st.data())
def test_records_survive_a_parquet_file_unchanged(record_type, values):
    rows = values.draw(st.lists(records_of(record_type), max_size=3))
    file = io.BytesIO()
    write_parquet(to_table(record_type, rows), file)
    table = read_parquet(io.BytesIO(file.getvalue()))
    assert list(from_table(record_type, table)) == rows


def test_optional_fields_are_the_nullable_columns():
    schema = schema_of(Whole)
    nullable = {column.name for column in schema if column.nullable}
    assert nullable == {"is_small", "spare"}
    assert schema.field("parts").type.value_type.field("weight").nullable
    assert schema.names == [field.name for field in fields(Whole)]


def test_a_missing_value_of_a_required_field_is_an_error():
    table = to_table(Part, [Part(name=None, weight=1.0)])  # type: ignore[arg-type]
    with pytest.raises(pa.ArrowInvalid, match="name"):
        write_parquet(table, io.BytesIO())


@pytest.mark.parametrize(
    "table",
    [
        pa.table({"weight": [1.0]}),
        pa.table({"name": [b"bytes"], "weight": [1.0]}),
        pa.table({"name": ["a"], "weight": [1]}),
    ],
    ids=["missing", "other type", "whole numbers"],
)
def test_a_table_of_another_version_is_rejected_with_a_remedy(table):
    with pytest.raises(StoreError, match=r"Part has no column '\w+' of type .*--force"):
        check_columns(Part, table)
    with pytest.raises(StoreError, match="Part has no column"):
        list(from_table(Part, table))


def test_an_unknown_enum_name_is_rejected_with_a_remedy():
    row = {"video_id": "a.mp4", "stage": "manifest", "kind": "renamed", "issue": "detail"}
    unknown = pa.Table.from_pylist([row], schema=schema_of(IssueRecord))
    with pytest.raises(
        StoreError, match=r"'renamed', which is not one of IssueKind: .* --force STAGE"
    ):
        list(from_table(IssueRecord, unknown))


def test_columns_that_are_not_in_the_class_are_ignored():
    table = pa.table({"weight": [0.5], "color": ["red"], "name": ["a"]})
    assert list(from_table(Part, table)) == [Part(name="a", weight=0.5)]


def test_a_field_of_an_unsupported_type_is_named_in_the_error():
    @dataclass
    class Odd:
        when: complex

    with pytest.raises(TypeError, match="complex"):
        schema_of(Odd)
