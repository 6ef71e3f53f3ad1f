"""Finding the segment on which the engine dies, so that all others get their answers.

A journal tells what was in flight when a process died. The next one asks about each of these
alone, before all others: a segment on which a process dies again, alone, is the culprit. So each
culprit costs two openings of the engine; halving what was in flight would cost one for each half.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from storage.errors import CrashError, StageError

_MAX_FRUITLESS = 5
_FEW_FRUITLESS = 2


class Journal:
    """Notes which items an engine was given and which it is done with, for who survives it."""

    def __init__(self, path: Path) -> None:
        self._stream = path.open("ab", buffering=0)  # a line is there as soon as it is written

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stream.close()

    def begin(self, item: str) -> None:
        """Note an item before the engine gets it."""
        self._stream.write(json.dumps(["begun", item]).encode() + b"\n")

    def end(self, item: str) -> None:
        """Note an item with which the engine is done."""
        self._stream.write(json.dumps(["ended", item]).encode() + b"\n")


def in_flight(path: Path) -> tuple[str, ...]:
    """Read from a dead process's journal which items it was at work on."""
    items: dict[str, None] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            event, item = json.loads(line)
        except ValueError:
            continue  # a full disk cut it short: what the process died of is told by its log
        if event == "begun":
            items[item] = None
        else:
            items.pop(item, None)
    return tuple(items)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """How a process died, the items that it was at work on, and where its log is kept."""

    error: CrashError
    in_flight: tuple[str, ...]
    log: str = ""

    @property
    def reason(self) -> str:
        """How it died, in few words that name nothing of this machine: they are stored."""
        return str(self.error).splitlines()[0].partition(";")[0]

    @property
    def message(self) -> CrashError:
        """The error for a person, who may look into the log."""
        where = f" The engine's log: {self.log}" if self.log else ""
        return CrashError(f"{self.error}{where}")


def predict_all(
    pending: Callable[[], Sequence[str]],
    ask: Callable[[Sequence[str], Sequence[str]], Sequence[Crash]],
    reject: Callable[[Mapping[str, str]], None],
) -> None:
    """Have all pending items asked about, leaving out those on which processes die.

    ``ask(items, alone)`` runs processes over the items, ``alone`` of them first and one at a time,
    and gives those that died. ``reject`` gets the poison_items with how the process died, once
    something else was answered after them: an engine that dies on whatever it is asked shall not
    have its segments rejected for it.

    Raises:
        CrashError: a process died while it was at work on nothing, and left something unanswered.
        StageError: processes die again and again without getting any further.
    """
    poison_items: dict[str, str] = {}
    suspects: set[str] = set()
    alone: Sequence[str] = ()
    patience = _Patience()
    while left := [item for item in pending() if item not in poison_items]:
        # Many poison_items at the head would hide that the engine answers the others.
        others = [item for item in left if item not in suspects]
        deferred = bool(others) and patience.num_fruitless >= _FEW_FRUITLESS
        crashes = ask(others, ()) if deferred else ask(left, alone)
        missing = [item for item in pending() if item not in poison_items]
        if not missing:
            break  # whatever died, it left nothing unanswered
        num_answered = len(left) - len(missing)
        found = _poison_items(crashes, alone)
        poison_items |= found
        patience.note(crashes, num_answered=num_answered, num_found=len(found))
        suspects |= {item for crash in crashes for item in crash.in_flight}
        alone = [item for item in missing if item in suspects and item not in poison_items]
        if num_answered or not crashes:
            reject(poison_items)
            poison_items = {}
        if not crashes and not deferred:
            return
    reject(poison_items)


def _poison_items(crashes: Sequence[Crash], alone: Sequence[str]) -> dict[str, str]:
    """Find the items on which a process died, alone, and one before it too."""
    for crash in crashes:
        if not crash.in_flight:
            raise crash.message
    single = {crash.in_flight[0]: crash.reason for crash in crashes if len(crash.in_flight) == 1}
    return {item: reason for item, reason in single.items() if item in alone}


@dataclass(slots=True)
class _Patience:
    """How often processes died without getting further; a culprit is a step once one answers."""

    num_fruitless: int = 0
    num_unexplained: int = 0
    has_answered: bool = False

    def note(self, crashes: Sequence[Crash], *, num_answered: int, num_found: int) -> None:
        """Count one more time; raises StageError where they are too many."""
        self.has_answered |= num_answered > 0
        is_step = not crashes or num_answered or (num_found and self.has_answered)
        self.num_fruitless = 0 if is_step else self.num_fruitless + 1
        self.num_unexplained = 0 if num_found or not crashes else self.num_unexplained + 1
        if self.num_fruitless >= _MAX_FRUITLESS:
            raise StageError(
                f"The engine died {self.num_fruitless} times in a row without a single answer; the "
                f"last time: {crashes[-1].message}"
            ) from crashes[-1].error
        if self.num_unexplained >= _MAX_FRUITLESS:
            raise StageError(
                f"The engine died {self.num_unexplained} times over several segments at once, each "
                "of which it answers alone: lower resources.infer.max_requests, it may lack "
                f"memory. The last time: {crashes[-1].message}"
            ) from crashes[-1].error
