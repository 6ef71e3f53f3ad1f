"""Making ahead: what is needed next is made while the last is used, so that no model waits."""

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
    pool = ThreadPoolExecutor(num_threads, thread_name_prefix="ahead")
    try:
        yield from begun_ahead(sources, lambda source: pool.submit(make, source), num_ahead)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def begun_ahead(
    sources: Iterable[Source], begin: Callable[[Source], "Future[Made]"], num_ahead: int
) -> Iterator[tuple[Source, Made]]:
    """Give each source with what came of it, in order, at most ``num_ahead`` begun in advance."""
    begun: deque[tuple[Source, Future[Made]]] = deque()
    try:
        for source in sources:
            begun.append((source, begin(source)))
            if len(begun) > num_ahead:
                first, future = begun.popleft()
                yield first, future.result()
        while begun:
            first, future = begun.popleft()
            yield first, future.result()
    finally:
        for _, future in begun:
            future.cancel()
