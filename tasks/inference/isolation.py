"""Isolation of poison items, the segments that crash the engine, from all other segments.

A journal records which items were in flight when a process died. The next process runs each of
these alone, before all others: an item on which a process dies again, alone, is a poison item. Each
poison item therefore costs two openings of the engine; bisecting would cost one for every half.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from storage.errors import CrashError, StageError

_MAX_FRUITLESS = 5
_MAX_FRUITLESS_BEFORE_DEFERRING = 2


class Journal:
    """An append-only log of the items an engine started and finished, readable after its death."""

    def __init__(self, path: Path) -> None:
        self._stream = path.open("ab", buffering=0)  # unbuffered: a line survives a kill

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stream.close()

    def start(self, item: str) -> None:
        """Record an item before the engine gets it."""
        self._stream.write(json.dumps(["started", item]).encode() + b"\n")

    def finish(self, item: str) -> None:
        """Record an item that the engine is done with."""
        self._stream.write(json.dumps(["finished", item]).encode() + b"\n")


def in_flight(path: Path) -> tuple[str, ...]:
    """Read from a dead process's journal the items that it had started and not finished."""
    items: dict[str, None] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            event, item = json.loads(line)
        except ValueError:
            continue  # truncated on a full disk; the process's log has the cause of death
        if event == "started":
            items[item] = None
        else:
            items.pop(item, None)
    return tuple(items)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """A process's death: the error, the items in flight, and the path of the kept log."""

    error: CrashError
    in_flight: tuple[str, ...]
    log: str = ""

    @property
    def reason(self) -> str:
        """The cause in a few words, without this host's paths because it is stored."""
        return str(self.error).splitlines()[0].partition(";")[0]

    @property
    def message(self) -> CrashError:
        """The error with the path of the engine's log."""
        log = f" The engine's log: {self.log}" if self.log else ""
        return CrashError(f"{self.error}{log}")


def predict_all(
    pending: Callable[[], Sequence[str]],
    predict: Callable[[Sequence[str], Sequence[str]], Sequence[Crash]],
    reject: Callable[[Mapping[str, str]], None],
) -> None:
    """Predict all pending items except those on which processes die.

    ``predict(items, alone)`` runs processes over the items, those in ``alone`` first and one at a
    time, and returns the crashes. ``reject`` gets the poison items with the cause of death, but
    only once another item was predicted: an engine that dies on every input must not get its
    segments rejected.

    Raises:
        CrashError: a process died with nothing in flight and left items without a prediction.
        StageError: processes die repeatedly without any progress.
    """
    poison_items: dict[str, str] = {}
    suspects: set[str] = set()
    alone: Sequence[str] = ()
    budget = _CrashBudget()
    while left := [item for item in pending() if item not in poison_items]:
        # Many poison items at the head would hide that the engine predicts the others.
        others = [item for item in left if item not in suspects]
        deferred = bool(others) and budget.num_fruitless >= _MAX_FRUITLESS_BEFORE_DEFERRING
        crashes = predict(others, ()) if deferred else predict(left, alone)
        missing = [item for item in pending() if item not in poison_items]
        if not missing:
            break  # the crashes, if any, left nothing without a prediction
        num_predicted = len(left) - len(missing)
        found = _poison_items(crashes, alone)
        poison_items |= found
        budget.record(crashes, num_predicted=num_predicted, num_found=len(found))
        suspects |= {item for crash in crashes for item in crash.in_flight}
        alone = [item for item in missing if item in suspects and item not in poison_items]
        if num_predicted or not crashes:
            reject(poison_items)
            poison_items = {}
        if not crashes and not deferred:
            return
    reject(poison_items)


def _poison_items(crashes: Sequence[Crash], alone: Sequence[str]) -> dict[str, str]:
    """Find the items that crashed a process twice: once among others and now alone."""
    for crash in crashes:
        if not crash.in_flight:
            raise crash.message
    single = {crash.in_flight[0]: crash.reason for crash in crashes if len(crash.in_flight) == 1}
    return {item: reason for item, reason in single.items() if item in alone}


@dataclass(slots=True)
class _CrashBudget:
    """Counts crashes without progress; a poison item is progress once any item succeeded."""

    num_fruitless: int = 0
    num_unexplained: int = 0
    has_predicted: bool = False

    def record(self, crashes: Sequence[Crash], *, num_predicted: int, num_found: int) -> None:
        """Count one run of the engines; raises StageError when the budget is spent."""
        self.has_predicted |= num_predicted > 0
        is_progress = not crashes or num_predicted or (num_found and self.has_predicted)
        self.num_fruitless = 0 if is_progress else self.num_fruitless + 1
        self.num_unexplained = 0 if num_found or not crashes else self.num_unexplained + 1
        if self.num_fruitless >= _MAX_FRUITLESS:
            raise StageError(
                f"The engine died {self.num_fruitless} times in a row without a single prediction; "
                f"the last time: {crashes[-1].message}"
            ) from crashes[-1].error
        if self.num_unexplained >= _MAX_FRUITLESS:
            raise StageError(
                f"The engine died {self.num_unexplained} times on several segments at once, each "
                "of which it predicts alone: lower resources.infer.max_requests, it may run out of "
                f"memory. The last time: {crashes[-1].message}"
            ) from crashes[-1].error
