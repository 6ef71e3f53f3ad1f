"""A pool of processes that prepare items ahead of their use and survive items that kill them.

Workers are forked from a server process that has imported the libraries, runs no thread and has
opened no device. Each ends with the pool's owner, however that one ends.
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
Result = TypeVar("Result")
_Pending = deque[tuple[Item, "Future[Result]"]]

_MAX_WORKERS = 16
_ITEMS_PER_WORKER = 256  # fewer are done before a process has started
_NICE = 10  # the pool's owner comes first where cores are scarce
_MAX_DEATHS = 3  # of items alone and in a row: then the items are not the cause
_WAY_OUT = (
    "check the memory and the installed libraries, or prepare segments in the engine's own process "
    "(resources.infer.num_decoders=0)."
)
_functions: list[Callable[[Any], Any]] = []


def num_workers_for(num_items: int, num_cores: int) -> int:
    """Return how many workers are worth their start for this many items; 0 for few items."""
    return min(num_cores, _MAX_WORKERS, num_items // _ITEMS_PER_WORKER)


class WorkerPool(Generic[Item, Result]):
    """Processes that call ``function``, which is pickled once for each of them, on single items.

    ``preload`` names modules that are imported once for all workers. If a worker dies, the items in
    progress are tried again one at a time. For an item that kills its worker again the result is
    ``on_death(item)``, delivered once a later item succeeded or none is left.

    Raises:
        StageError: workers cannot start, or die on several items in a row.
    """

    def __init__(
        self,
        function: Callable[[Item], Any],
        num_processes: int,
        *,
        preload: Sequence[str],
        on_death: Callable[[Item], Result],
    ) -> None:
        self._function = function
        self._num_processes = num_processes
        self._preload = list(preload)
        self._on_death = on_death
        self._num_deaths = 0  # in a row
        self._executor = self._open_executor()

    def start(self) -> None:
        """Start all workers, which import the libraries meanwhile."""
        for _ in range(self._num_processes):
            self._submit(os.getpid)

    def close(self) -> None:
        """End all workers and drop pending items."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def iter_results(self, items: Iterable[Item], num_ahead: int) -> Iterator[tuple[Item, Result]]:
        """Yield each item with its result, in order, with at most ``num_ahead`` items in advance.

        The first items are submitted by the call itself, before the iterator is used.
        """
        rest = iter(items)
        pending = deque((item, self._submit(run_item, item)) for item in islice(rest, num_ahead))
        return self._deliver(pending, rest, num_ahead)

    def _deliver(
        self, pending: "_Pending[Item, Result]", rest: Iterator[Item], num_ahead: int
    ) -> Iterator[tuple[Item, Result]]:
        dead: list[Item] = []
        for item, outcome in self._outcomes(pending, rest, num_ahead):
            if isinstance(outcome, _Death):
                dead.append(item)
                continue
            yield from ((other, self._on_death(other)) for other in dead)
            dead.clear()
            yield item, outcome
        yield from ((other, self._on_death(other)) for other in dead)

    def _outcomes(
        self, pending: "_Pending[Item, Result]", rest: Iterator[Item], num_ahead: int
    ) -> Iterator[tuple[Item, "Result | _Death"]]:
        for item in rest:
            pending.append((item, self._submit(run_item, item)))
            if len(pending) > num_ahead:
                yield from self._take(pending)
        while pending:
            yield from self._take(pending)

    def _submit(self, function: Callable[..., Any], *arguments: Any) -> "Future[Any]":
        try:
            return self._executor.submit(function, *arguments)
        except BrokenProcessPool as error:
            broken: Future[Any] = Future()
            broken.set_exception(error)
            return broken
        except (OSError, EOFError) as error:  # of the fork server
            raise _cannot_start() from error

    def _take(self, pending: "_Pending[Item, Result]") -> Iterator[tuple[Item, "Result | _Death"]]:
        """Yield the first pending item's outcome, or that of all pending if a worker died."""
        item, future = pending.popleft()
        try:
            result = future.result()
        except BrokenProcessPool:
            suspects = [item, *(other for other, _ in pending)]
            pending.clear()
            self._restart()
            for suspect in suspects:
                yield suspect, self._run_alone(suspect)
            return
        self._num_deaths = 0
        yield item, result

    def _run_alone(self, item: Item) -> "Result | _Death":
        try:
            result: Result = self._submit(run_item, item).result()
        except BrokenProcessPool as error:
            self._restart()
            self._num_deaths += 1
            if self._num_deaths >= _MAX_DEATHS:
                raise StageError(
                    "The processes that prepare segments for the engine died on "
                    f"{self._num_deaths} segments in a row, each of them alone: the segments are "
                    f"not the cause and none is rejected; {_WAY_OUT}"
                ) from error
            return _Death()
        self._num_deaths = 0
        return result

    def _restart(self) -> None:
        """Replace dead workers and check that new ones start."""
        self._executor.shutdown(wait=False)
        self._executor = self._open_executor()
        try:
            self._submit(os.getpid).result()
        except BrokenProcessPool as error:
            raise _cannot_start() from error

    def _open_executor(self) -> Executor:
        context = get_context("forkserver")
        context.set_forkserver_preload([__name__, *self._preload])
        return ProcessPoolExecutor(
            self._num_processes,
            mp_context=context,
            initializer=initialize_worker,
            initargs=(self._function,),
        )


class _Death:
    """The outcome of an item that killed its worker."""


def _cannot_start() -> StageError:
    return StageError(
        "The processes that prepare segments for the engine die while they start: " + _WAY_OUT
    )


def run_item(item: Any) -> Any:
    """Call the pool's function on an item, in a worker."""
    return _functions[0](item)


def initialize_worker(function: Callable[[Any], Any]) -> None:
    """Prepare a new worker: its function, one thread, and that it ends with the pool's owner."""
    os.nice(_NICE)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the owner gets it too, and ends its workers
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
    _functions.append(function)
    if parent := parent_process():
        # Not the group, which is the owner's.
        end_with_parent(parent.sentinel, whole_group=False)
