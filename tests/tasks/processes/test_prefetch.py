import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.processes.prefetch import PrefetchQueue, prefetch


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(3) as pool:
        yield pool


@given(items=st.lists(st.integers()), num_ahead=st.integers(min_value=0, max_value=9))
def test_results_come_in_order_with_their_items(pool, items, num_ahead) -> None:  # type: ignore[no-untyped-def]
    results = prefetch(items, lambda n: pool.submit(lambda: 2 * n), num_ahead)
    assert list(results) == [(n, 2 * n) for n in items]


def test_items_are_submitted_no_further_ahead_than_num_ahead(pool: ThreadPoolExecutor) -> None:
    submitted: list[int] = []

    def submit(number: int):  # type: ignore[no-untyped-def]
        submitted.append(number)
        return pool.submit(str, number)

    results = prefetch(range(100), submit, 3)
    next(results)
    assert submitted == [0, 1, 2, 3]
    results.close()


def test_an_error_is_raised_in_its_turn(pool: ThreadPoolExecutor) -> None:
    results = prefetch([1, 0, 2], lambda n: pool.submit(lambda: 1 / n), 2)
    assert next(results) == (1, 1.0)
    with pytest.raises(ZeroDivisionError):
        next(results)


@given(items=st.lists(st.integers()), size=st.integers(min_value=1, max_value=5))
def test_a_queue_yields_everything_in_order_and_then_is_over(items: list[int], size: int) -> None:
    taken = []
    with PrefetchQueue(iter(items), size) as queue:
        while not queue.is_over:
            item = queue.take(wait=True)
            taken += [] if queue.is_over else [item]
    assert taken == items


def test_a_queue_fills_up_to_its_size_while_nothing_is_taken() -> None:
    produced: list[int] = []

    def produce() -> Iterator[int]:
        for number in range(100):
            produced.append(number)
            yield number

    with PrefetchQueue(produce(), 3) as queue:
        end = time.monotonic() + 10
        while len(produced) < 4 and time.monotonic() < end:
            time.sleep(0.001)
        time.sleep(0.05)
        assert produced == [0, 1, 2, 3]
        assert queue.take(wait=False) == 0


def test_take_waits_only_if_it_should() -> None:
    may_continue = threading.Event()

    def produce() -> Iterator[str]:
        may_continue.wait(timeout=10)
        yield "late"

    with PrefetchQueue(produce(), 1) as queue:
        assert queue.take(wait=False) is None
        assert not queue.is_over
        may_continue.set()
        assert queue.take(wait=True) == "late"


def test_an_error_of_the_iterator_is_raised_in_its_turn() -> None:
    with PrefetchQueue((1 / n for n in (1, 0, 2)), 5) as queue:
        assert queue.take(wait=True) == 1.0
        with pytest.raises(ZeroDivisionError):
            queue.take(wait=True)


def test_leaving_early_leaves_no_thread_and_closes_the_iterator() -> None:
    closed = []

    def produce() -> Iterator[int]:
        try:
            yield from range(50)
        finally:
            closed.append(True)

    with PrefetchQueue(produce(), 2) as queue:
        queue.take(wait=True)
    assert closed == [True]
    assert not [thread for thread in threading.enumerate() if thread.name == "prefetch"]
