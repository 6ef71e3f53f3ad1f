"""Parse the cells of a label table, column by column."""

import re
import unicodedata
from collections.abc import Callable
from typing import Any

from storage.datasets.consent import read_answer
from storage.datasets.table.rows import TableRow
from storage.errors import DataError
from storage.records import SPLITS, Interval, ParticipantId

_INTEGER = re.compile(r"(\d{1,15})(?:\.0*)?")  # data frames write integer columns with gaps as 1.0
_LAST_QUESTION = 7
_LONGEST_MS = 24 * 3600 * 1000


def read_interval(row: TableRow) -> Interval | None:
    """Parse a row's interval of A/H, if it has one.

    Raises:
        DataError: one of its bounds is missing or invalid.
    """
    if not row.cell("start_ms") and not row.cell("end_ms"):
        return None
    for present, missing in (("start_ms", "end_ms"), ("end_ms", "start_ms")):
        if not row.cell(missing):
            raise DataError(
                f"{row.location}: {present} is set, but {missing} is empty: set both or neither."
            )
    start_ms, end_ms = (_integer(row, column) for column in ("start_ms", "end_ms"))
    if end_ms <= start_ms:
        raise DataError(
            f"{row.location}: end_ms is {end_ms}, expected more than start_ms {start_ms}."
        )
    if end_ms > _LONGEST_MS:
        raise _fault(row, "end_ms", f"milliseconds of a video, at most {_LONGEST_MS} (24 hours)")
    return Interval(start_ms=start_ms, end_ms=end_ms)


def _integer(row: TableRow, column: str) -> int:
    match = _INTEGER.fullmatch(row.cell(column))
    if match is None:
        raise _fault(row, column, "an integer from 0")
    return int(match[1])


def _label(row: TableRow, column: str) -> int:
    match = _INTEGER.fullmatch(row.cell(column))
    if match is None or int(match[1]) > 1:
        raise _fault(row, column, "1 (A/H), 0 (no A/H) or an empty cell (unknown)")
    return int(match[1])


def _question(row: TableRow, column: str) -> int:
    match = _INTEGER.fullmatch(row.cell(column))
    if match is None or not 1 <= int(match[1]) <= _LAST_QUESTION:
        raise _fault(row, column, f"an integer from 1 to {_LAST_QUESTION} or an empty cell")
    return int(match[1])


def _split(row: TableRow, column: str) -> str:
    if row.cell(column) not in SPLITS:
        raise _fault(row, column, f"{', '.join(SPLITS)} or an empty cell")
    return row.cell(column)


def _participant(row: TableRow, column: str) -> ParticipantId:
    text = row.cell(column)
    if any(unicodedata.category(letter) == "Cc" for letter in text):
        raise DataError(
            f"{row.location}: the {column} contains a control character: remove it.",
            details=(f"{column} {text!r}",),
        )
    return ParticipantId(text)


def _consent(row: TableRow, column: str) -> bool:
    answer = read_answer(row.cell(column))
    if answer is None:
        raise _fault(row, column, "yes, no or an empty cell")
    return answer


def _fault(row: TableRow, column: str, expected: str) -> DataError:
    return DataError(f"{row.location}: {column} is {row.cell(column)!r}, expected {expected}.")


READERS: dict[str, Callable[[TableRow, str], Any]] = {
    "label": _label,
    "participant": _participant,
    "split": _split,
    "question": _question,
    "consent_publications": _consent,
    "consent_challenges": _consent,
}
