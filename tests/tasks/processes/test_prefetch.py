import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.processes.prefetch import Backlog, prefetched


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(3) as pool:
        yield pool


@given(sources=st.lists(st.integers()), num_ahead=st.integers(min_value=0, max_value=9))
def test_everything_comes_in_order_with_what_was_made_of_it(pool, sources, num_ahead) -> None:  # type: ignore[no-untyped-def]
    made = prefetched(sources, lambda n: pool.submit(lambda: 2 * n), num_ahead)
    assert list(made) == [(n, 2 * n) for n in sources]


def test_no_more_is_made_in_advance_than_asked_for(pool: ThreadPoolExecutor) -> None:
    started: list[int] = []

    def begin(number: int):  # type: ignore[no-untyped-def]
        started.append(number)
        return pool.submit(str, number)

    made = prefetched(range(100), begin, 3)
    next(made)
    assert started == [0, 1, 2, 3]
    made.close()


def test_an_error_comes_when_its_turn_comes(pool: ThreadPoolExecutor) -> None:
    made = prefetched([1, 0, 2], lambda n: pool.submit(lambda: 1 / n), 2)
    assert next(made) == (1, 1.0)
    with pytest.raises(ZeroDivisionError):
        next(made)


@given(items=st.lists(st.integers()), size=st.integers(min_value=1, max_value=5))
def test_a_backlog_gives_everything_in_order_and_then_is_over(items: list[int], size: int) -> None:
    taken = []
    with Backlog(iter(items), size) as backlog:
        while not backlog.is_over:
            item = backlog.take(wait=True)
            taken += [] if backlog.is_over else [item]
    assert taken == items


def test_a_backlog_is_filled_while_nobody_takes_from_it_and_no_further_than_its_size() -> None:
    drawn: list[int] = []

    def draw() -> Iterator[int]:
        for number in range(100):
            drawn.append(number)
            yield number

    with Backlog(draw(), 3) as backlog:
        end = time.monotonic() + 10
        while len(drawn) < 4 and time.monotonic() < end:
            time.sleep(0.001)
        time.sleep(0.05)
        assert drawn == [0, 1, 2, 3]
        assert backlog.take(wait=False) == 0


def test_what_is_not_ready_is_not_waited_for_unless_asked() -> None:
    may_go_on = threading.Event()

    def draw() -> Iterator[str]:
        may_go_on.wait(timeout=10)
        yield "late"

    with Backlog(draw(), 1) as backlog:
        assert backlog.take(wait=False) is None
        assert not backlog.is_over
        may_go_on.set()
        assert backlog.take(wait=True) == "late"


def test_an_error_of_what_is_drawn_comes_when_its_turn_comes() -> None:
    with Backlog((1 / n for n in (1, 0, 2)), 5) as backlog:
        assert backlog.take(wait=True) == 1.0
        with pytest.raises(ZeroDivisionError):
            backlog.take(wait=True)


def test_leaving_early_leaves_no_thread_behind_and_closes_what_was_drawn_from() -> None:
    closed = []

    def draw() -> Iterator[int]:
        try:
            yield from range(50)
        finally:
            closed.append(True)

    with Backlog(draw(), 2) as backlog:
        backlog.take(wait=True)
    assert closed == [True]
    assert not [thread for thread in threading.enumerate() if thread.name == "backlog"]
