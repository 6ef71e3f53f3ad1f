"""Processes that make something ahead of its use, and outlive an item that kills one of them.

Workers are forked off a server process that has imported the libraries, runs no thread and knows no
device. Each ends with the process that it works for, however that one ends.
"""

import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context, parent_process
from typing import Any, Generic, TypeVar

from storage.errors import StageError
from tasks.processes.child_frame import end_with_parent

Item = TypeVar("Item")
Made = TypeVar("Made")
_Begun = deque[tuple[Item, "Future[Made]"]]

_MAX_WORKERS = 16
_ITEMS_PER_WORKER = 256  # fewer are made before a process has started
_NICE = 10  # whom they work for comes first where cores are scarce
_MAX_DEATHS = 3  # of items alone and in a row: then it is not the items
_WAY_OUT = (
    "see to the memory and the installed libraries, or make them in the engine's own process "
    "(resources.infer.num_decoders=0)."
)
_making: list[Callable[[Any], Any]] = []


def num_workers_for(num_items: int, num_cores: int) -> int:
    """Say how many processes are good for so many items; few are made sooner without."""
    return min(num_cores, _MAX_WORKERS, num_items // _ITEMS_PER_WORKER)


class Workers(Generic[Item, Made]):
    """Processes that call ``make``, which is sent to each of them, on one item at a time.

    ``preload`` names modules that are imported once for all of them. An item on which a process
    dies, and dies again when nothing else is at work, becomes what ``on_death`` gives for it, once
    another item was made after it or none is left.

    Raises:
        StageError: processes cannot start, or die on one item after the other.
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
        self._num_deaths = 0  # in a row
        self._executor = self._start()

    def start(self) -> None:
        """Begin to import the libraries, for items that come later."""
        for _ in range(self._num_processes):
            self._submit(os.getpid)

    def close(self) -> None:
        """End all processes; what was begun is given up."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def iter_made(self, items: Iterable[Item], num_ahead: int) -> Iterator[tuple[Item, Made]]:
        """Give each item with what was made of it, in order, at most ``num_ahead`` in advance.

        The first are begun at once, before any is asked for.
        """
        rest = iter(items)
        started = deque((item, self._submit(make_here, item)) for item in islice(rest, num_ahead))
        return self._made(started, rest, num_ahead)

    def _made(
        self, started: "_Begun[Item, Made]", rest: Iterator[Item], num_ahead: int
    ) -> Iterator[tuple[Item, Made]]:
        dead: list[Item] = []
        for item, outcome in self._outcomes(started, rest, num_ahead):
            if isinstance(outcome, _Death):
                dead.append(item)
                continue
            yield from ((other, self._on_death(other)) for other in dead)
            dead.clear()
            yield item, outcome
        yield from ((other, self._on_death(other)) for other in dead)

    def _outcomes(
        self, started: "_Begun[Item, Made]", rest: Iterator[Item], num_ahead: int
    ) -> Iterator[tuple[Item, "Made | _Death"]]:
        for item in rest:
            started.append((item, self._submit(make_here, item)))
            if len(started) > num_ahead:
                yield from self._take(started)
        while started:
            yield from self._take(started)

    def _submit(self, make: Callable[..., Any], *arguments: Any) -> "Future[Any]":
        try:
            return self._executor.submit(make, *arguments)
        except BrokenProcessPool as error:
            broken: Future[Any] = Future()
            broken.set_exception(error)
            return broken
        except (OSError, EOFError) as error:  # of the server that forks
            raise _cannot_start() from error

    def _take(self, started: "_Begun[Item, Made]") -> Iterator[tuple[Item, "Made | _Death"]]:
        """Give what the first begun item became; where a process died, all that were begun."""
        item, future = started.popleft()
        try:
            made = future.result()
        except BrokenProcessPool:
            suspects = [item, *(other for other, _ in started)]
            started.clear()
            self._start_again()
            for suspect in suspects:
                yield suspect, self._made_alone(suspect)
            return
        self._num_deaths = 0
        yield item, made

    def _made_alone(self, item: Item) -> "Made | _Death":
        try:
            made: Made = self._submit(make_here, item).result()
        except BrokenProcessPool as error:
            self._start_again()
            self._num_deaths += 1
            if self._num_deaths >= _MAX_DEATHS:
                raise StageError(
                    "The processes that prepare segments ahead of the engine die: they did on "
                    f"{self._num_deaths} in a row, each of them alone, so that it is not the "
                    f"segments' fault and none is rejected: {_WAY_OUT}"
                ) from error
            return _Death()
        self._num_deaths = 0
        return made

    def _start_again(self) -> None:
        """Start other processes in the place of dead ones, and see that they do start."""
        self._executor.shutdown(wait=False)
        self._executor = self._start()
        try:
            self._submit(os.getpid).result()
        except BrokenProcessPool as error:
            raise _cannot_start() from error

    def _start(self) -> Executor:
        context = get_context("forkserver")
        context.set_forkserver_preload([__name__, *self._preload])
        return ProcessPoolExecutor(
            self._num_processes,
            mp_context=context,
            initializer=start_worker,
            initargs=(self._make,),
        )


class _Death:
    """What came of an item on which a process died."""


def _cannot_start() -> StageError:
    return StageError(
        "The processes that prepare segments ahead of the engine die before they are at work: "
        + _WAY_OUT
    )


def make_here(item: Any) -> Any:
    """In a worker: make something of an item."""
    return _making[0](item)


def start_worker(make: Callable[[Any], Any]) -> None:
    """In a new worker: keep what it makes things by, and end with the process it works for."""
    os.nice(_NICE)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it too, and ends its workers
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
    _making.append(make)
    if parent := parent_process():
        # Alone: the pool's owner ends its own group, which this process belongs to.
        end_with_parent(parent.sentinel, whole_group=False)
