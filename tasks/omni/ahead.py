"""Decoding ahead: segments are read in threads, so that the model never waits for a file."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Source = TypeVar("Source")
Made = TypeVar("Made")


def made_ahead(
    sources: Iterable[Source], make: Callable[[Source], Made], *, num_threads: int, num_ahead: int
) -> Iterator[tuple[Source, Made]]:
    """Give each source with what was made of it, in order, at most ``num_ahead`` made in advance.

    Threads suffice where ``make`` spends its time in code that lets others run (PyAV decoding). An
    error of ``make`` is raised where its source's turn comes.
    """
    ready: deque[tuple[Source, Future[Made]]] = deque()
    pool = ThreadPoolExecutor(num_threads, thread_name_prefix="ahead")
    try:
        for source in sources:
            ready.append((source, pool.submit(make, source)))
            if len(ready) > num_ahead:
                first, future = ready.popleft()
                yield first, future.result()
        while ready:
            first, future = ready.popleft()
            yield first, future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
