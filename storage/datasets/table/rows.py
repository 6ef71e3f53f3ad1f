"""Read a label table, text or Parquet, as rows of text.

Checks encoding, columns and number of cells; `cells` parses the values. Columns of a text file may
be separated by commas, semicolons (a spreadsheet's `CSV` where commas are decimal), tabs or bars;
the line of column names shows which.
"""

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from storage.datasets.table.schema_errors import SchemaErrors
from storage.errors import DataError
from storage.identity import name_key
from storage.schema import read_parquet

REQUIRED = ("video", "label")
OPTIONAL = (
    "participant", "split", "start_ms", "end_ms", "question", "consent_publications",
    "consent_challenges",
)  # fmt: skip
_SEPARATORS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a vertical bar"}
_SEPARATOR_HINT = "sep="  # a first line with which spreadsheets mark the separator


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """A row's stripped cells by column, and its file and line for error messages.

    ``separator`` is that of the file's columns; where it is no comma, a comma may be decimal.
    """

    location: str
    cells: Mapping[str, str]
    separator: str = ","

    def cell(self, column: str) -> str:
        """Return a cell's text, which is empty if the table has no such column."""
        return self.cells.get(column, "")


def iter_rows(path: Path, errors: SchemaErrors) -> Iterator[TableRow]:
    """Read a table's rows in order; skips blank lines and collects invalid ones.

    Raises:
        DataError: the file cannot be read, has invalid columns, or no row.
    """
    is_parquet = path.suffix.lower() == ".parquet"
    rows = _iter_parquet(path, errors) if is_parquet else _iter_csv(path, errors)
    is_empty = True
    for row in rows:
        is_empty = False
        yield row
    if is_empty and not errors:
        raise DataError(
            f"{path.name!r} has no row: expected one for each labeled video. Remove the file if no "
            "video is labeled."
        )


def _iter_csv(path: Path, errors: SchemaErrors) -> Iterator[TableRow]:
    text = _read_utf8(path)
    separator = _separator_of(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    header: list[str] | None = None
    location = f"{path.name}, line 1"
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if not any(stripped) or (header is None and stripped[0].startswith(_SEPARATOR_HINT)):
                pass
            elif header is None:
                header = [_column_of(cell) for cell in stripped]
                _check_columns(location, header)
            else:
                with errors.collect():
                    by_column = _by_column(location, header, stripped, separator)
                    yield TableRow(location=location, cells=by_column, separator=separator)
            location = f"{path.name}, line {reader.line_num + 1}"
    except csv.Error as error:
        raise DataError(
            f"{location}: invalid CSV ({error}): close every quote that opens a cell, and double "
            "quotes within a quoted cell."
        ) from error
    if header is None:
        _check_columns(path.name, ())


def _separator_of(text: str) -> str:
    """Return the separator with which the line of column names contains most known columns."""
    lines = (line for line in text.splitlines() if line.strip())
    header = next((line for line in lines if not line.startswith(_SEPARATOR_HINT)), "")

    def num_known(separator: str) -> int:
        names = (_column_of(cell.strip(' \t"')) for cell in header.split(separator))
        return sum(name in (*REQUIRED, *OPTIONAL) for name in names)

    return max(_SEPARATORS, key=num_known)


def _column_of(cell: str) -> str:
    """Return the known column that a cell of the first line names, or the cell as it is."""
    key = name_key(cell)
    return key if key in (*REQUIRED, *OPTIONAL) else cell


def _read_utf8(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path.name!r} cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path.name!r} is not UTF-8 (byte {error.start}): save it as CSV in UTF-8."
        ) from error


def _check_columns(location: str, header: Sequence[str]) -> None:
    expected = f"expected {', '.join(REQUIRED)} and optionally {', '.join(OPTIONAL)}"
    if header and not set(header) & {*REQUIRED, *OPTIONAL}:
        raise DataError(f"{location}: the first line names no known column; {expected}.")
    errors = SchemaErrors()
    for column in dict.fromkeys(header):
        with errors.collect():
            if column not in (*REQUIRED, *OPTIONAL):
                raise DataError(f"{location}: unknown column {column!r}; {expected}.")
            if list(header).count(column) > 1:
                raise DataError(f"{location}: duplicate column {column!r}: remove one.")
    for column in REQUIRED:
        with errors.collect():
            if column not in header:
                raise DataError(f"{location}: missing column {column!r}; {expected}.")
    errors.raise_if_any()


def _by_column(
    location: str, header: Sequence[str], cells: Sequence[str], separator: str
) -> dict[str, str]:
    if len(cells) != len(header):
        raise DataError(
            f"{location}: {len(cells)} cells for {len(header)} columns: quote cells that contain "
            f"{_SEPARATORS[separator]}, and leave no cell out."
        )
    return dict(zip(header, cells, strict=True))


def _iter_parquet(path: Path, errors: SchemaErrors) -> Iterator[TableRow]:
    try:
        table = read_parquet(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path.name!r} cannot be read as Parquet: write it again.") from error
    _check_columns(path.name, table.column_names)
    for number, row in enumerate(table.to_pylist(), start=1):
        location = f"{path.name}, row {number}"
        with errors.collect():
            cells = {column: _as_text(location, cell) for column, cell in row.items()}
            yield TableRow(location=location, cells=cells)


def _as_text(location: str, cell: Any) -> str:
    """Format a typed cell as a CSV file would; NaN, a data frame's missing number, is empty."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    if isinstance(cell, bool):
        return str(int(cell))
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    if isinstance(cell, str | int | float):
        return str(cell).strip()
    raise DataError(f"{location}: unexpected {type(cell).__name__}; expected text or a number.")
