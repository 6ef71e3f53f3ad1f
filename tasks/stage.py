"""What all stages use: shards, the loop that computes missing items, and their result."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from prefect import State
from prefect.states import Completed

from storage.datasets.erased import read_erased
from storage.errors import (
    ItemFault,
    StageError,
    TransientFault,
    WaverError,
    unexpected_reason,
)
from storage.records import RejectedRecord, TransientRecord
from storage.store.store import Store
from storage.store.variant import ItemOutput, Variant
from tasks.ui_artifacts import format_count

_COMMIT_SECONDS = 10.0


class ItemRows(Mapping[str, Any]):
    """Rows or digests by item: a mapping whose content Prefect does not walk.

    Prefect visits each value within the dictionaries and records among a task's arguments, several
    times per task run.
    """

    def __init__(self, rows: Mapping[str, Any]) -> None:
        self._rows = rows

    def __getitem__(self, item: str) -> Any:
        return self._rows[item]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """A subset of a stage's items, by id, each with the digest of its inputs.

    ``unit`` is what an item is, in the plural.
    """

    name: str
    expected: Mapping[str, str]
    unit: str = "items"

    @property
    def title(self) -> str:
        """The shard in the name of its task run, such as ``3 of 40 (16 videos)``."""
        return f"{self.name} ({format_count(len(self.expected), self.unit)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardResult:
    """The number of a shard's items that were cached, and that were computed or rejected."""

    num_cached: int
    num_computed: int

    @property
    def is_cached(self) -> bool:
        """True if nothing had to be computed."""
        return self.num_computed == 0


def split_into_shards(
    expected: Mapping[str, str], shard_size: int, unit: str = "items"
) -> list[Shard]:
    """Divide items, in order, into shards of at most ``shard_size``."""
    items = list(expected.items())
    count = -(-len(items) // shard_size)
    return [
        Shard(
            name=f"{index + 1} of {count}",
            expected=ItemRows(dict(items[start : start + shard_size])),
            unit=unit,
        )
        for index, start in enumerate(range(0, len(items), shard_size))
    ]


def compute_missing(
    variant: Variant,
    shard: Shard,
    compute: Callable[[Sequence[str]], Iterator[ItemOutput]],
    commit_seconds: float = _COMMIT_SECONDS,
) -> ShardResult:
    """Compute a shard's missing items and commit them in parts as they finish.

    ``compute`` receives the missing ids and yields each one's output; it is not called if nothing
    is missing. A kill loses the current item and those finished within the last ``commit_seconds``;
    if ``compute`` raises, the items it finished are kept.

    Raises:
        StageError: a participant was erased meanwhile, so nothing may be written.
    """
    with variant.store.at_work():
        erased_before = read_erased(variant.store).digests
        pending = variant.pending(shard.expected)
        for part in _parts_by_time(compute(pending), commit_seconds) if pending else ():
            _check_nobody_erased(variant.store, erased_before)
            variant.commit(part, shard.expected)
    return ShardResult(num_cached=len(shard.expected) - len(pending), num_computed=len(pending))


def _check_nobody_erased(store: Store, erased_before: Set[str]) -> None:
    if not read_erased(store).digests <= erased_before:
        raise StageError(
            "A participant was erased during this run, which therefore cannot store its results: "
            "run again; items finished before are kept."
        )


def _parts_by_time(outputs: Iterator[ItemOutput], seconds: float) -> Iterator[list[ItemOutput]]:
    """Group outputs by time; on an exception, yield the finished ones before raising it."""
    ready: list[ItemOutput] = []
    started = time.monotonic()
    try:
        for output in outputs:
            ready.append(output)
            if time.monotonic() - started >= seconds:
                yield ready
                ready, started = [], time.monotonic()
    except Exception:
        yield ready
        raise
    yield ready


def as_state(result: ShardResult) -> State:
    """Return a shard's final state, named Cached if nothing was computed."""
    return Completed(name="Cached" if result.is_cached else "Completed", data=result)


def or_rejected(stage: str, item_id: str, compute: Callable[[], ItemOutput]) -> ItemOutput:
    """Compute one item; a fault of the item itself becomes its rejected row.

    Errors that would affect every item (a full disk, a missing program) are raised, so that a fault
    of the host is never stored as a fault of a video. An unexpected exception is recorded by type
    and source line only: its message may contain personal data.
    """
    try:
        return compute()
    except ItemFault as fault:
        reason, may_pass = str(fault), isinstance(fault, TransientFault)
    except (WaverError, OSError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - a failed row becomes a rejected row here only
        reason, may_pass = unexpected_reason(error), True
    return rejected_output(stage, item_id, reason, may_pass=may_pass)


def rejected_output(stage: str, item_id: str, reason: str, *, may_pass: bool) -> ItemOutput:
    """Build the output of an item that is rejected; ``may_pass`` if another try may succeed."""
    row = RejectedRecord(item_id=item_id, stage=stage, reason=reason)
    return ItemOutput(
        item_id=item_id, rows=(row, TransientRecord(item_id=item_id)) if may_pass else (row,)
    )
