import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.omni.ahead import made_ahead


@given(
    st.lists(st.integers()),
    st.integers(min_value=1, max_value=4),
    st.integers(min_value=0, max_value=9),
)
def test_everything_comes_in_order_with_what_was_made_of_it(
    sources: list[int], num_threads: int, num_ahead: int
) -> None:
    made = made_ahead(sources, lambda n: 2 * n, num_threads=num_threads, num_ahead=num_ahead)
    assert list(made) == [(n, 2 * n) for n in sources]


def test_no_more_is_made_in_advance_than_asked_for() -> None:
    begun: list[int] = []
    made = made_ahead(range(100), begun.append, num_threads=2, num_ahead=3)
    next(made)
    time.sleep(0.05)
    assert begun == [0, 1, 2, 3]
    made.close()


def test_the_next_ones_are_made_while_the_first_is_used() -> None:
    second_is_made = threading.Event()
    made = made_ahead(
        [None, second_is_made], lambda event: event and event.set(), num_threads=1, num_ahead=1
    )
    next(made)
    assert second_is_made.wait(timeout=10)
    assert len(list(made)) == 1


def test_an_error_comes_when_its_turn_comes() -> None:
    made = made_ahead([1, 0, 2], lambda n: 1 / n, num_threads=2, num_ahead=2)
    assert next(made) == (1, 1.0)
    with pytest.raises(ZeroDivisionError):
        next(made)


def test_leaving_early_leaves_no_thread_behind() -> None:
    made = made_ahead(range(50), lambda n: n, num_threads=3, num_ahead=5)
    next(made)
    made.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("ahead")]
