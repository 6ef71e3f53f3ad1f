import pytest

from storage.datasets.table.schema_errors import SchemaErrors
from storage.errors import DataError


def _collected(*errors: DataError) -> SchemaErrors:
    collected = SchemaErrors()
    for error in errors:
        with collected.collect():
            raise error
    return collected


def test_a_table_without_errors_raises_nothing():
    _collected().raise_if_any()


def test_a_single_error_is_raised_unchanged():
    error = DataError("line 2: wrong", details=("P1",))
    with pytest.raises(DataError) as caught:
        _collected(error).raise_if_any()
    assert caught.value is error


def test_several_errors_are_counted_and_listed_with_their_details():
    errors = _collected(DataError("line 2: wrong", details=("P1",)), DataError("line 3: odd"))
    with pytest.raises(DataError, match=r"^line 2: wrong This is the first of 2 errors") as caught:
        errors.raise_if_any()
    assert caught.value.details == ("line 2: wrong", "  P1", "line 3: odd")
    assert "P1" not in str(caught.value)
