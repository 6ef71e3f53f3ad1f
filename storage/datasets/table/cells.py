"""What the cells of a table of labels mean: each column's values, and which it cannot hold."""

import re
import unicodedata
from collections.abc import Callable
from typing import Any

from storage.datasets.consent import read_answer
from storage.datasets.table.rows import TableRow
from storage.errors import DataError
from storage.records import SPLITS, Interval, ParticipantId

_WHOLE = re.compile(r"(\d{1,15})(?:\.0*)?")  # data frames write a whole number with gaps as 1.0
_LAST_QUESTION = 7
_LONGEST_MS = 24 * 3600 * 1000


def read_interval(row: TableRow) -> Interval | None:
    """Read a row's stretch of A/H, if it gives one.

    Raises:
        DataError: one of its ends is missing, or cannot be one.
    """
    if not row.cell("start_ms") and not row.cell("end_ms"):
        return None
    for given, missing in (("start_ms", "end_ms"), ("end_ms", "start_ms")):
        if not row.cell(missing):
            raise DataError(
                f"{row.location}: there is {given}, but no {missing}: give both or none."
            )
    start_ms, end_ms = (_whole(row, column) for column in ("start_ms", "end_ms"))
    if end_ms <= start_ms:
        raise DataError(
            f"{row.location}: end_ms is {end_ms}, expected more than start_ms {start_ms}."
        )
    if end_ms > _LONGEST_MS:
        raise _fault(row, "end_ms", f"milliseconds of a video, at most {_LONGEST_MS} (24 hours)")
    return Interval(start_ms=start_ms, end_ms=end_ms)


def _whole(row: TableRow, column: str) -> int:
    found = _WHOLE.fullmatch(row.cell(column))
    if found is None:
        raise _fault(row, column, "a whole number from 0 on")
    return int(found[1])


def _label(row: TableRow, column: str) -> int:
    found = _WHOLE.fullmatch(row.cell(column))
    if found is None or int(found[1]) > 1:
        raise _fault(row, column, "1 (A/H is present), 0 (it is not) or nothing (unknown)")
    return int(found[1])


def _question(row: TableRow, column: str) -> int:
    found = _WHOLE.fullmatch(row.cell(column))
    if found is None or not 1 <= int(found[1]) <= _LAST_QUESTION:
        raise _fault(row, column, f"a whole number from 1 to {_LAST_QUESTION} or nothing")
    return int(found[1])


def _split(row: TableRow, column: str) -> str:
    if row.cell(column) not in SPLITS:
        raise _fault(row, column, f"{', '.join(SPLITS)} or nothing")
    return row.cell(column)


def _participant(row: TableRow, column: str) -> ParticipantId:
    written = row.cell(column)
    if any(unicodedata.category(letter) == "Cc" for letter in written):
        raise DataError(
            f"{row.location}: the {column} holds a control character: write it anew.",
            details=(f"{column} {written!r}",),
        )
    return ParticipantId(written)


def _consent(row: TableRow, column: str) -> bool:
    answer = read_answer(row.cell(column))
    if answer is None:
        raise _fault(row, column, "yes, no or nothing")
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
