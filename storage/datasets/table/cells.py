"""Parse the cells of a label table, column by column."""

import re
import unicodedata
from collections.abc import Callable
from typing import Any

from storage.datasets.consent import read_answer
from storage.datasets.table.rows import TableRow
from storage.errors import DataError
from storage.identity import name_key, participant_key
from storage.records import SPLITS, Interval, ParticipantId

_INTEGER = re.compile(r"(\d{1,15})(?:\.0*)?")  # data frames write integer columns with gaps as 1.0
_THOUSANDS = re.compile(r"\d{1,3}(?:[.,]\d{3})+")
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


def read_integer(row: TableRow, column: str) -> int | None:
    """Parse an integer from 0, also as data frames write it (1.0); ``None`` for anything else.

    Raises:
        DataError: the cell may mean two numbers: where columns are separated by semicolons, tabs or
            bars, 1.000 and 1,000 may be one or one thousand.
    """
    text = row.cell(column)
    is_decimal_point = row.separator == "," and "," not in text
    if not is_decimal_point and _THOUSANDS.fullmatch(text):
        raise DataError(
            f"{row.location}: {column} is {text!r}, which may be {text[:-4]} or "
            f"{re.sub('[.,]', '', text)}: write the number without a separator of thousands."
        )
    match = _INTEGER.fullmatch(text if row.separator == "," else text.replace(",", "."))
    return None if match is None else int(match[1])


def _integer(row: TableRow, column: str) -> int:
    number = read_integer(row, column)
    if number is None:
        raise _fault(row, column, "whole milliseconds from 0, such as 1500 for 1.5 s")
    return number


def _label(row: TableRow, column: str) -> int:
    number = read_integer(row, column)
    if number is None or number > 1:
        raise _fault(row, column, "1 (A/H), 0 (no A/H) or an empty cell (unknown)")
    return number


def _question(row: TableRow, column: str) -> int:
    number = read_integer(row, column)
    if number is None or not 1 <= number <= _LAST_QUESTION:
        raise _fault(row, column, f"an integer from 1 to {_LAST_QUESTION} or an empty cell")
    return number


def _split(row: TableRow, column: str) -> str:
    split = name_key(row.cell(column))
    if split not in SPLITS:
        raise _fault(row, column, f"{', '.join(SPLITS)} or an empty cell")
    return split


def _participant(row: TableRow, column: str) -> ParticipantId:
    text = row.cell(column)
    if any(unicodedata.category(letter) == "Cc" for letter in text):
        raise DataError(
            f"{row.location}: the {column} contains a control character: remove it.",
            details=(f"{column} {text!r}",),
        )
    if not participant_key(text):
        raise _fault(row, column, "an id with visible characters, or an empty cell")
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
