import inspect
import json
import pickle
import re

import pytest

from storage import errors

CLASSES = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and value.__module__ == errors.__name__
]


def test_the_docstring_shows_every_error_and_no_other():
    shown = re.findall(r"^[│├└─ ]*(\w+(?:Error|Fault))\s", errors.__doc__ or "", re.MULTILINE)
    assert sorted(shown) == sorted(cls.__name__ for cls in CLASSES)


@pytest.mark.parametrize("error_type", CLASSES)
def test_every_error_is_one_tree_and_crosses_processes(error_type):
    assert issubclass(error_type, errors.WaverError)
    copy = pickle.loads(pickle.dumps(error_type("one clear sentence")))
    assert (type(copy), str(copy)) == (error_type, "one clear sentence")


def test_details_cross_processes_and_are_in_no_representation():
    error = errors.LeakageError("one clear sentence", details=("participant ann",))
    copy = pickle.loads(pickle.dumps(error))
    assert copy.details == ("participant ann",)
    assert "ann" not in repr(copy) + str(copy)


def test_an_unforeseen_error_is_described_by_its_class_and_our_line_but_not_its_text():
    try:
        json.loads("Ann's transcript")  # raised inside a library
    except ValueError as error:
        reason = errors.unexpected_reason(error)
    assert reason.startswith(f"unexpected JSONDecodeError in {this_function()} (test_errors.py, ")
    assert "Ann" not in reason


def this_function() -> str:
    return inspect.stack()[1].function
