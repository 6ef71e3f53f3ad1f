"""Gather what is wrong with a table's form, so that all of it can be repaired in one go."""

import contextlib
from collections.abc import Iterator

from storage.errors import DataError


class TableFaults:
    """The faults found in a table so far, in the order of its lines."""

    def __init__(self) -> None:
        self._reported: list[DataError] = []

    def __bool__(self) -> bool:
        """Say whether anything was wrong."""
        return bool(self._reported)

    @contextlib.contextmanager
    def gathered(self) -> Iterator[None]:
        """Keep a fault that is raised within, and go on after it."""
        try:
            yield
        except DataError as fault:
            self._reported.append(fault)

    def refuse(self) -> None:
        """Refuse the table if anything is wrong with it.

        Raises:
            DataError: the first fault, with the number of all, which the details tell each.
        """
        if not self._reported:
            return
        first, count = self._reported[0], len(self._reported)
        if count == 1:
            raise first
        raise DataError(
            f"{first} This is the first of {count} faults of the table: mend all of them.",
            details=tuple(
                line
                for fault in self._reported
                for line in (str(fault), *(f"  {detail}" for detail in fault.details))
            ),
        )
