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
        event, item = json.loads(line)
        if event == "begun":
            items[item] = None
        else:
            items.pop(item, None)
    return tuple(items)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """How a process died, and the items that it was at work on."""

    error: CrashError
    in_flight: tuple[str, ...]


def ask_all(
    pending: Callable[[], Sequence[str]],
    ask: Callable[[Sequence[str], Sequence[str]], Sequence[Crash]],
    reject: Callable[[Mapping[str, CrashError]], None],
) -> None:
    """Have all pending items asked about, leaving out those on which processes die.

    ``ask(items, alone)`` runs processes over the items, ``alone`` of them first and one at a time,
    and gives those that died. ``reject`` gets the culprits, once something else was answered after
    them: an engine that dies on whatever it is asked shall not have its segments rejected for it.

    Raises:
        CrashError: a process died before it was at work on any item.
        StageError: processes die again and again without getting any further.
    """
    culprits: dict[str, CrashError] = {}
    alone: Sequence[str] = ()
    num_fruitless = num_unexplained = 0
    while left := [item for item in pending() if item not in culprits]:
        crashes = ask(left, alone)
        missing = [item for item in pending() if item not in culprits]
        num_answered = len(left) - len(missing)
        found = _culprits(crashes, alone)
        culprits |= found
        num_unexplained = 0 if found or not crashes else num_unexplained + 1
        num_fruitless = 0 if num_answered or not crashes else num_fruitless + 1
        _check_progress(crashes, num_fruitless, num_unexplained)
        suspects = {*alone, *(item for crash in crashes for item in crash.in_flight)}
        alone = [item for item in missing if item in suspects and item not in culprits]
        if num_answered or not crashes:
            reject(culprits)
            culprits = {}
        if not crashes:
            return
    reject(culprits)


def _culprits(crashes: Sequence[Crash], alone: Sequence[str]) -> dict[str, CrashError]:
    """Find the items on which a process died, alone, and one before it too."""
    for crash in crashes:
        if not crash.in_flight:
            raise crash.error
    single = {crash.in_flight[0]: crash.error for crash in crashes if len(crash.in_flight) == 1}
    return {item: error for item, error in single.items() if item in alone}


def _check_progress(crashes: Sequence[Crash], num_fruitless: int, num_unexplained: int) -> None:
    if num_fruitless >= _MAX_FRUITLESS:
        raise StageError(
            f"The engine died {num_fruitless} times in a row without a single answer; the last "
            f"time: {crashes[-1].error}"
        ) from crashes[-1].error
    if num_unexplained >= _MAX_FRUITLESS:
        raise StageError(
            f"The engine died {num_unexplained} times over several segments at once, each of which "
            "it answers alone: lower resources.infer.max_requests, it may lack memory. The last "
            f"time: {crashes[-1].error}"
        ) from crashes[-1].error
