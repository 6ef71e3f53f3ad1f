"""Read a label table, `labels.csv` or `labels.parquet`, as rows of text.

Checks encoding, separator, columns and number of cells; `cells` parses the values.
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
from storage.schema import read_parquet

LABEL_FILES = ("labels.csv", "labels.parquet")
REQUIRED = ("video", "label")
OPTIONAL = (
    "participant", "split", "start_ms", "end_ms", "question", "consent_publications",
    "consent_challenges",
)  # fmt: skip
_OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """A row's stripped cells by column, and its file and line for error messages."""

    location: str
    cells: Mapping[str, str]

    def cell(self, column: str) -> str:
        """Return a cell's text, which is empty if the table has no such column."""
        return self.cells.get(column, "")


def find_label_file(root: Path) -> Path | None:
    """Return the path of a data folder's label table, or ``None``.

    Raises:
        DataError: there are two tables, or one that is misspelled or no file.
    """
    found = [root / name for name in label_file_names(root)]
    for path in found:
        if path.name not in LABEL_FILES or not path.is_file():
            problem = "is not a file" if path.name in LABEL_FILES else "is misspelled"
            raise DataError(
                f"{path.name!r} in the data folder {problem}: rename the label table to "
                f"{' or '.join(LABEL_FILES)}, or move it elsewhere."
            )
    if len(found) > 1:
        raise DataError(
            f"The data folder contains both {' and '.join(LABEL_FILES)}, which may differ: remove "
            "one of them."
        )
    return found[0] if found else None


def label_file_names(root: Path) -> tuple[str, ...]:
    """List the names in a folder that are a label table's, in any case."""
    try:
        names = (path.name for path in root.iterdir())
        return tuple(sorted(name for name in names if name.lower() in LABEL_FILES))
    except OSError:
        return ()


def iter_rows(path: Path, errors: SchemaErrors) -> Iterator[TableRow]:
    """Read a table's rows in order; skips blank lines and collects invalid ones.

    Raises:
        DataError: the file cannot be read, has invalid columns, or no row.
    """
    rows = _iter_csv(path, errors) if path.suffix == ".csv" else _iter_parquet(path, errors)
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
    reader = csv.reader(io.StringIO(_read_utf8(path), newline=""), strict=True)
    header: list[str] | None = None
    location = f"{path.name}, line 1"
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if not any(stripped):
                pass
            elif header is None:
                header = stripped
                _check_separator(location, header)
                _check_columns(location, header)
            else:
                with errors.collect():
                    cells_by_column = _by_column(location, header, stripped)
                    yield TableRow(location=location, cells=cells_by_column)
            location = f"{path.name}, line {reader.line_num + 1}"
    except csv.Error as error:
        raise DataError(
            f"{location}: invalid CSV ({error}): close every quote that opens a cell, and double "
            "quotes within a quoted cell."
        ) from error
    if header is None:
        _check_columns(path.name, ())


def _read_utf8(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path.name!r} cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path.name!r} is not UTF-8 (byte {error.start}): save it as CSV in UTF-8."
        ) from error


def _check_separator(location: str, header: Sequence[str]) -> None:
    for separator, name in _OTHER_SEPARATORS.items():
        if len(header) == 1 and separator in header[0]:
            raise DataError(
                f"{location}: columns are separated by {name}: separate them by commas "
                "(in a spreadsheet, save as `CSV (comma delimited)`)."
            )


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


def _by_column(location: str, header: Sequence[str], cells: Sequence[str]) -> dict[str, str]:
    if len(cells) != len(header):
        raise DataError(
            f"{location}: {len(cells)} cells for {len(header)} columns: quote cells that contain a "
            "comma, and leave no cell out."
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
