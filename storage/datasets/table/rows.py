"""Read a table of labels as rows of text, each with its place: `labels.csv` or `labels.parquet`.

Only the table's form is judged here: encoding, separator, columns, cells. What the cells mean is
`table_layout`'s.
"""

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from storage.datasets.table.schema_errors import TableFaults
from storage.errors import DataError
from storage.schema import read_parquet

LABEL_FILES = ("labels.csv", "labels.parquet")
REQUIRED = ("video", "label")
OPTIONAL = (
    "participant", "split", "start_ms", "end_ms", "question", "consent_publications",
    "consent_challenges",
)  # fmt: skip
_OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "upright lines"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """A row's cells by column, stripped, empty where nothing is said; `place` is for errors."""

    location: str
    cells: Mapping[str, str]

    def cell(self, column: str) -> str:
        """Give a cell's text; empty also where the table has no such column."""
        return self.cells.get(column, "")


def find_label_file(root: Path) -> Path | None:
    """Find a data folder's table of labels.

    Raises:
        DataError: there are two, or one in another spelling or that is no file.
    """
    found = [root / name for name in label_file_names(root)]
    for path in found:
        if path.name not in LABEL_FILES or not path.is_file():
            what = "is no file" if path.name in LABEL_FILES else "is spelled otherwise"
            raise DataError(
                f"{path.name!r} in the data folder {what}: a table of labels is a file named "
                f"{' or '.join(LABEL_FILES)}. Name it so, or move it elsewhere."
            )
    if len(found) > 1:
        raise DataError(
            f"The data folder holds both {' and '.join(LABEL_FILES)}: remove one, for they may "
            "say different things."
        )
    return found[0] if found else None


def label_file_names(root: Path) -> tuple[str, ...]:
    """List the names in a folder that are those of a table of labels, in whatever case."""
    try:
        names = (path.name for path in root.iterdir())
        return tuple(sorted(name for name in names if name.lower() in LABEL_FILES))
    except OSError:
        return ()


def iter_rows(path: Path, faults: TableFaults) -> Iterator[TableRow]:
    """Read a table's rows in order; blank lines are passed over, and faulty ones gathered.

    Raises:
        DataError: the file cannot be read, has other columns than it may have, or no row.
    """
    rows = _iter_csv(path, faults) if path.suffix == ".csv" else _iter_parquet(path, faults)
    is_empty = True
    for row in rows:
        is_empty = False
        yield row
    if is_empty and not faults:
        raise DataError(
            f"{path.name!r} holds no row: expected one for each video of which something is known. "
            "Remove the file if nothing is."
        )


def _iter_csv(path: Path, faults: TableFaults) -> Iterator[TableRow]:
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
                with faults.gathered():
                    cells_by_column = _by_column(location, header, stripped)
                    yield TableRow(location=location, cells=cells_by_column)
            location = f"{path.name}, line {reader.line_num + 1}"
    except csv.Error as error:
        raise DataError(
            f"{location}: this is not CSV ({error}): close every quotation mark that opens a cell, "
            "and write one within a quoted cell twice."
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
            f"{path.name!r} is not UTF-8 text (byte {error.start}): save it as CSV in UTF-8."
        ) from error


def _check_separator(location: str, header: Sequence[str]) -> None:
    for separator, name in _OTHER_SEPARATORS.items():
        if len(header) == 1 and separator in header[0]:
            raise DataError(
                f"{location}: the columns are separated by {name}: separate them by commas "
                "(a spreadsheet may save `CSV (comma delimited)`)."
            )


def _check_columns(location: str, header: Sequence[str]) -> None:
    known = f"expected {', '.join(REQUIRED)} and, where known, any of {', '.join(OPTIONAL)}"
    if header and not set(header) & {*REQUIRED, *OPTIONAL}:
        raise DataError(
            f"{location}: this is no header: the first line must name the columns; {known}."
        )
    faults = TableFaults()
    for column in dict.fromkeys(header):
        with faults.gathered():
            if column not in (*REQUIRED, *OPTIONAL):
                raise DataError(f"{location}: there is a column {column!r}; {known}.")
            if list(header).count(column) > 1:
                raise DataError(
                    f"{location}: the column {column!r} stands there twice: remove one."
                )
    for column in REQUIRED:
        with faults.gathered():
            if column not in header:
                raise DataError(f"{location}: there is no column {column!r}; {known}.")
    faults.refuse()


def _by_column(location: str, header: Sequence[str], cells: Sequence[str]) -> dict[str, str]:
    if len(cells) != len(header):
        raise DataError(
            f"{location}: there are {len(cells)} cells for {len(header)} columns: put quotes around "
            "a name that holds a comma, and leave no cell out."
        )
    return dict(zip(header, cells, strict=True))


def _iter_parquet(path: Path, faults: TableFaults) -> Iterator[TableRow]:
    try:
        table = read_parquet(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path.name!r} cannot be read as Parquet: write it again.") from error
    _check_columns(path.name, table.column_names)
    for number, row in enumerate(table.to_pylist(), start=1):
        location = f"{path.name}, row {number}"
        with faults.gathered():
            cells = {column: _as_text(location, cell) for column, cell in row.items()}
            yield TableRow(location=location, cells=cells)


def _as_text(location: str, cell: Any) -> str:
    """Write a typed cell as a CSV file would; an empty number is what a data frame calls NaN."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    if isinstance(cell, bool):
        return str(int(cell))
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    if isinstance(cell, str | int | float):
        return str(cell).strip()
    raise DataError(f"{location}: there is a {type(cell).__name__}; expected text or a number.")
