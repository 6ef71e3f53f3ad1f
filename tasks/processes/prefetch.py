"""Prefetching: the next items are prepared while the last is used, so that no model waits."""

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from types import TracebackType
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_PUT_SECONDS = 0.05  # how soon a full queue's thread notices that it is closed


def prefetch(
    items: Iterable[Item], submit: Callable[[Item], "Future[Result]"], num_ahead: int
) -> Iterator[tuple[Item, Result]]:
    """Yield each item with its result, in order, with at most ``num_ahead`` items in advance."""
    pending: deque[tuple[Item, Future[Result]]] = deque()
    try:
        for item in items:
            pending.append((item, submit(item)))
            if len(pending) > num_ahead:
                first, future = pending.popleft()
                yield first, future.result()
        while pending:
            first, future = pending.popleft()
            yield first, future.result()
    finally:
        for _, future in pending:
            future.cancel()


class PrefetchQueue(Generic[Item]):
    """Up to ``size`` items of an iterator, which a thread of its own advances.

    An error of the iterator is raised by `take` in its turn.
    """

    def __init__(self, items: Iterable[Item], size: int) -> None:
        self._items = items
        self._ready: queue.Queue[tuple[Item] | BaseException | None] = queue.Queue(size)
        self._is_closed = threading.Event()
        self._thread = threading.Thread(target=self._fill, daemon=True, name="prefetch")
        self.is_over = False

    def __enter__(self) -> "PrefetchQueue[Item]":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_closed.set()
        self._thread.join()

    def take(self, *, wait: bool) -> Item | None:
        """Return the next item, or `None` at the end or, without ``wait``, if none is ready.

        Must not be called once ``is_over``.
        """
        try:
            entry = self._ready.get(block=wait)
        except queue.Empty:
            return None
        if isinstance(entry, BaseException):
            raise entry
        if entry is None:
            self.is_over = True
            return None
        return entry[0]

    def _fill(self) -> None:
        try:
            for item in self._items:
                self._put((item,))
                if self._is_closed.is_set():
                    return
        except BaseException as error:  # noqa: BLE001 - raised again by `take`
            self._put(error)
        else:
            self._put(None)
        finally:
            if isinstance(self._items, Generator):
                self._items.close()

    def _put(self, entry: tuple[Item] | BaseException | None) -> None:
        while not self._is_closed.is_set():
            with suppress(queue.Full):
                self._ready.put(entry, timeout=_PUT_SECONDS)
                return
