"""Collect the errors of a label table, to report all of them together."""

import contextlib
from collections.abc import Iterator

from storage.errors import DataError


class SchemaErrors:
    """The errors found in a table so far, in line order."""

    def __init__(self) -> None:
        self._errors: list[DataError] = []

    def __bool__(self) -> bool:
        """Return whether there is any error."""
        return bool(self._errors)

    @contextlib.contextmanager
    def collect(self) -> Iterator[None]:
        """Collect a `DataError` of the block, and continue after it."""
        try:
            yield
        except DataError as error:
            self._errors.append(error)

    def raise_if_any(self) -> None:
        """Raise if the table has errors.

        Raises:
            DataError: the first error and the number of errors; the details list them all.
        """
        if not self._errors:
            return
        first, count = self._errors[0], len(self._errors)
        if count == 1:
            raise first
        raise DataError(
            f"{first} This is the first of {count} errors in the table: correct all of them.",
            details=tuple(
                line
                for error in self._errors
                for line in (str(error), *(f"  {detail}" for detail in error.details))
            ),
        )
