from typing import Any

import pytest

from storage.datasets.table.cells import READERS, read_interval
from storage.datasets.table.rows import OPTIONAL, TableRow
from storage.errors import DataError
from storage.records import Interval


def row(**cells: str) -> TableRow:
    return TableRow(location="labels.csv:7", cells=cells)


@pytest.mark.parametrize(
    ("column", "text", "value"),
    [
        ("label", "1", 1), ("label", "0.0", 0), ("question", "7", 7), ("question", "3.00", 3),
        ("split", "val", "val"), ("participant", "p 1", "p 1"),
        ("split", "Val\u00a0", "val"), ("label", "1.000", 1),
        ("consent_publications", "yes", True), ("consent_challenges", "no", False),
    ],
)  # fmt: skip
def test_a_valid_cell_is_parsed(column: str, text: str, value: Any) -> None:
    assert READERS[column](row(**{column: text}), column) == value


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("label", "2"), ("label", "0.5"), ("label", "-1"), ("question", "0"), ("question", "8"),
        ("question", "1e1"), ("split", "dev"), ("participant", "p\x00"),
        ("participant", "\u200b"), ("label", "1,0"), ("question", "3,00"),
        ("consent_publications", "perhaps"),
    ],
)  # fmt: skip
def test_an_invalid_cell_is_rejected_with_its_line_and_column(column: str, text: str) -> None:
    with pytest.raises(DataError) as caught:
        READERS[column](row(**{column: text}), column)
    assert str(caught.value).startswith("labels.csv:7: ")
    assert column in str(caught.value)


def test_every_optional_column_but_the_interval_has_a_reader() -> None:
    assert set(OPTIONAL) - set(READERS) == {"start_ms", "end_ms"}


def test_an_interval_has_both_bounds_or_none() -> None:
    assert read_interval(row()) is None
    assert read_interval(row(start_ms="0", end_ms="1500.0")) == Interval(start_ms=0, end_ms=1500)
    for present, missing in (("start_ms", "end_ms"), ("end_ms", "start_ms")):
        with pytest.raises(DataError, match=f"{present} is set, but {missing} is empty"):
            read_interval(row(**{present: "10"}))


@pytest.mark.parametrize(("start", "end"), [("5", "5"), ("6", "5"), ("0", "86400001"), ("x", "5")])
def test_an_impossible_interval_is_rejected(start: str, end: str) -> None:
    with pytest.raises(DataError, match=r"^labels\.csv:7: "):
        read_interval(row(start_ms=start, end_ms=end))


@pytest.mark.parametrize("separator", [";", "\t", "|"])
@pytest.mark.parametrize(
    ("column", "text", "value"),
    [("label", "1,0", 1), ("label", "0,", 0), ("question", "3,00", 3), ("question", "3.0", 3)],
)
def test_a_decimal_comma_is_read_where_no_comma_separates(separator, column, text, value):
    cells = TableRow(location="labels.csv:7", cells={column: text}, separator=separator)
    assert READERS[column](cells, column) == value


@pytest.mark.parametrize(
    ("text", "value"), [("1500", 1500), ("1500,0", 1500), ("1500.0", 1500), ("1500,000", 1500)]
)
def test_times_with_a_decimal_comma_are_whole_milliseconds(text, value):
    cells = {"start_ms": "0,0", "end_ms": text}
    interval = read_interval(TableRow(location="x", cells=cells, separator=";"))
    assert interval == Interval(start_ms=0, end_ms=value)


@pytest.mark.parametrize("text", ["1.000", "1,000", "250.000", "1.000.000", "12,500"])
def test_a_number_that_may_have_a_separator_of_thousands_is_an_error(text):
    cells = {"start_ms": "0", "end_ms": text}
    with pytest.raises(DataError, match=f"end_ms is '{text}', which may be .* thousands"):
        read_interval(TableRow(location="x", cells=cells, separator=";"))


@pytest.mark.parametrize("text", ["1,5", "1.5", "1 500", "1\u202f500"])
def test_a_fraction_of_a_millisecond_or_a_blank_in_a_number_is_an_error(text):
    cells = {"start_ms": "0", "end_ms": text}
    with pytest.raises(DataError, match=r"end_ms is .* expected whole milliseconds"):
        read_interval(TableRow(location="x", cells=cells, separator=";"))
