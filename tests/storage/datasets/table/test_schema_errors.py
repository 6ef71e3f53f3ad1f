import pytest

from storage.datasets.table.schema_errors import TableFaults
from storage.errors import DataError


def _gathered(*errors: DataError) -> TableFaults:
    faults = TableFaults()
    for error in errors:
        with faults.gathered():
            raise error
    return faults


def test_nothing_wrong_refuses_nothing():
    _gathered().refuse()


def test_a_single_fault_is_raised_as_it_was_told():
    fault = DataError("line 2: wrong", details=("P1",))
    with pytest.raises(DataError) as caught:
        _gathered(fault).refuse()
    assert caught.value is fault


def test_several_faults_are_counted_and_all_of_them_are_details_with_their_own():
    with pytest.raises(DataError, match=r"^line 2: wrong This is the first of 2 faults") as caught:
        _gathered(DataError("line 2: wrong", details=("P1",)), DataError("line 3: odd")).refuse()
    assert caught.value.details == ("line 2: wrong", "  P1", "line 3: odd")
    assert "P1" not in str(caught.value)
