"""Processes that make something ahead of its use, and outlive an item that kills one of them.

Workers are forked off a server process that has imported the libraries, runs no thread and knows no
device. Each ends with the process that it works for, however that one ends.
"""

import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection, get_context, parent_process
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")

_MAX_WORKERS = 16
_ITEMS_PER_WORKER = 256  # fewer are made before a process has started
_making: list[Callable[[Any], Any]] = []


def num_workers_for(wanted: int | None, num_items: int) -> int:
    """Say how many processes to use: as many as wanted, or what machine and items make good.

    One core is left to whom they work for; few items are made sooner without.
    """
    if wanted is not None:
        return wanted
    free = len(os.sched_getaffinity(0)) - 1
    return max(0, min(free, _MAX_WORKERS, num_items // _ITEMS_PER_WORKER))


class Workers(Generic[Item, Made]):
    """Processes that call ``make``, which is sent to each of them, on one item at a time.

    ``preload`` names modules that are imported once for all of them. An item on which a process
    dies, and dies again when nothing else is at work, becomes what ``on_death`` gives for it.
    """

    def __init__(
        self,
        make: Callable[[Item], Any],
        num_processes: int,
        *,
        preload: Sequence[str],
        on_death: Callable[[Item], Made],
    ) -> None:
        self._make = make
        self._num_processes = num_processes
        self._preload = list(preload)
        self._on_death = on_death
        self._executor = self._start()

    def start(self) -> None:
        """Begin to import the libraries, for items that come later."""
        for _ in range(self._num_processes):
            self._executor.submit(os.getpid)

    def close(self) -> None:
        """End all processes; what was begun is given up."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def iter_made(self, items: Iterable[Item], num_ahead: int) -> Iterator[tuple[Item, Made]]:
        """Give each item with what was made of it, in order, at most ``num_ahead`` in advance."""
        begun: deque[tuple[Item, Future[Made]]] = deque()
        for item in items:
            begun.append((item, self._begin(item)))
            if len(begun) > num_ahead:
                yield from self._take(begun)
        while begun:
            yield from self._take(begun)

    def _begin(self, item: Item) -> "Future[Made]":
        try:
            return self._executor.submit(make_here, item)
        except BrokenProcessPool as error:
            broken: Future[Made] = Future()
            broken.set_exception(error)
            return broken

    def _take(self, begun: deque[tuple[Item, "Future[Made]"]]) -> Iterator[tuple[Item, Made]]:
        """Give what the first begun item became; where a process died, all that were begun."""
        item, future = begun.popleft()
        try:
            made = future.result()
        except BrokenProcessPool:
            suspects = [item, *(other for other, _ in begun)]
            begun.clear()
            self._executor = self._start()
            for suspect in suspects:
                yield suspect, self._made_alone(suspect)
            return
        yield item, made

    def _made_alone(self, item: Item) -> Made:
        try:
            return self._begin(item).result()
        except BrokenProcessPool:
            self._executor = self._start()
            return self._on_death(item)

    def _start(self) -> Executor:
        context = get_context("forkserver")
        context.set_forkserver_preload([__name__, *self._preload])
        return ProcessPoolExecutor(
            self._num_processes,
            mp_context=context,
            initializer=start_worker,
            initargs=(self._make,),
        )


def make_here(item: Any) -> Any:
    """In a worker: make something of an item."""
    return _making[0](item)


def start_worker(make: Callable[[Any], Any]) -> None:
    """In a new worker: keep what it makes things by, and end with the process it works for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it too, and ends its workers
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
    _making.append(make)
    threading.Thread(target=_end_with_parent, daemon=True, name="end-with-parent").start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
