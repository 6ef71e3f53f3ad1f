"""Making ahead: what is needed next is made while the last is used, so that no model waits."""

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from types import TracebackType
from typing import Generic, TypeVar

Source = TypeVar("Source")
Made = TypeVar("Made")

_SECONDS = 0.05


def prefetched(
    sources: Iterable[Source], begin: Callable[[Source], "Future[Made]"], num_ahead: int
) -> Iterator[tuple[Source, Made]]:
    """Give each source with what came of it, in order, at most ``num_ahead`` begun in advance."""
    started: deque[tuple[Source, Future[Made]]] = deque()
    try:
        for source in sources:
            started.append((source, begin(source)))
            if len(started) > num_ahead:
                first, future = started.popleft()
                yield first, future.result()
        while started:
            first, future = started.popleft()
            yield first, future.result()
    finally:
        for _, future in started:
            future.cancel()


class Backlog(Generic[Made]):
    """What an iterator gives, drawn by a thread of its own, at most ``size`` ahead of its use.

    An error of the iterator is raised where its turn comes.
    """

    def __init__(self, items: Iterable[Made], size: int) -> None:
        self._items = items
        self._ready: queue.Queue[tuple[Made] | BaseException | None] = queue.Queue(size)
        self._is_closed = threading.Event()
        self._thread = threading.Thread(target=self._draw, daemon=True, name="backlog")
        self.is_over = False

    def __enter__(self) -> "Backlog[Made]":
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

    def take(self, *, wait: bool) -> Made | None:
        """Give the next one; ``None`` where none is ready, unless to be waited for, or at the end.

        Nothing may be taken once ``is_over``.
        """
        try:
            taken = self._ready.get(block=wait)
        except queue.Empty:
            return None
        if isinstance(taken, BaseException):
            raise taken
        if taken is None:
            self.is_over = True
            return None
        return taken[0]

    def _draw(self) -> None:
        try:
            for item in self._items:
                self._put((item,))
                if self._is_closed.is_set():
                    return
        except BaseException as error:  # noqa: BLE001 - raised again by whoever takes it
            self._put(error)
        else:
            self._put(None)
        finally:
            if isinstance(self._items, Generator):
                self._items.close()

    def _put(self, ready: tuple[Made] | BaseException | None) -> None:
        while not self._is_closed.is_set():
            with suppress(queue.Full):
                self._ready.put(ready, timeout=_SECONDS)
                return
