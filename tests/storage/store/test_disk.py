import errno
import os

import pytest

from storage.errors import StoreError
from storage.store.disk import creating, space_on, writing_to


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_every_error_of_a_full_disk_is_reported(number):
    clear = r"No space left .*'here'.*finished so far is kept"
    with pytest.raises(StoreError, match=clear), space_on("here"):
        raise OSError(number, os.strerror(number))


@pytest.mark.parametrize("error", [FileNotFoundError(2, "no"), ConnectionError("net"), KeyError()])
def test_other_errors_pass_through(error):
    with pytest.raises(type(error)), writing_to("here"):
        raise error


def test_a_location_that_cannot_be_created_is_named_with_its_option():
    expected_error = pytest.raises(StoreError, match=r"^Cannot write to '/proc/x' .*--out")
    with expected_error, creating("/proc/x", "--out"):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
