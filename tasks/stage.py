"""What every stage shares: shards, the loop that makes what is missing, and what it reports."""

import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from prefect import State
from prefect.states import Completed

from storage.datasets.erased import read_erased
from storage.errors import ItemFault, StageError, WaverError
from storage.records import RejectedRecord
from storage.store.store import Store
from storage.store.variant import ItemOutput, Variant

_COMMIT_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """Some of a stage's items, by id, each with the digest of what goes into it."""

    name: str
    expected: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardResult:
    """How many of a shard's items were there already and how many were made or rejected now."""

    num_cached: int
    num_computed: int

    @property
    def is_cached(self) -> bool:
        """True if nothing had to be made."""
        return self.num_computed == 0


def split_into_shards(expected: Mapping[str, str], shard_size: int) -> list[Shard]:
    """Deal items, in order, into shards of at most ``shard_size``."""
    items = list(expected.items())
    count = -(-len(items) // shard_size)
    return [
        Shard(name=f"{index + 1} of {count}", expected=dict(items[start : start + shard_size]))
        for index, start in enumerate(range(0, len(items), shard_size))
    ]


def compute_missing(
    variant: Variant,
    shard: Shard,
    make: Callable[[Sequence[str]], Iterator[ItemOutput]],
    commit_seconds: float = _COMMIT_SECONDS,
) -> ShardResult:
    """Make a shard's missing items and commit them in parts as they finish.

    ``make`` gets the missing ids and yields each one's output; it is not called when nothing is
    missing. A kill loses the item in work and what was finished in the ``commit_seconds`` before
    it; when ``make`` fails, what it had finished is kept.

    Raises:
        StageError: a participant was forgotten meanwhile, of whom nothing may come back.
    """
    with variant.store.at_work():
        left_out = read_erased(variant.store).digests
        pending = variant.pending(shard.expected)
        for part in _parts_by_time(make(pending), commit_seconds) if pending else ():
            _check_nobody_erased(variant.store, left_out)
            variant.commit(part, shard.expected)
    return ShardResult(num_cached=len(shard.expected) - len(pending), num_computed=len(pending))


def _check_nobody_erased(store: Store, left_out: Set[str]) -> None:
    if not read_erased(store).digests <= left_out:
        raise StageError(
            "A participant was forgotten while this run was going on, so that it must not write "
            "what it makes: run again; what was finished before is kept."
        )


def _parts_by_time(outputs: Iterator[ItemOutput], seconds: float) -> Iterator[list[ItemOutput]]:
    """Group outputs as time passes; what was ready is handed on before a failure is."""
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
    """Give a shard's result as the state it ends in; nothing made is named Cached."""
    return Completed(name="Cached" if result.is_cached else "Completed", data=result)


def or_rejected(stage: str, item_id: str, make: Callable[[], ItemOutput]) -> ItemOutput:
    """Make one item; a fault of the item itself becomes its rejected row.

    Errors that would hit every item alike (a full disk, a missing program) pass through, so that a
    machine's trouble is never written down as a video's. Of what nobody foresaw only kind and place
    are told: its text may quote a person.
    """
    try:
        return make()
    except ItemFault as fault:
        reason = str(fault)
    except (WaverError, OSError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - the one place where a failed row becomes a rejected row
        reason = f"unforeseen {type(error).__name__} {_place_of(error)}"
    return ItemOutput(
        item_id=item_id, rows=(RejectedRecord(item_id=item_id, stage=stage, reason=reason),)
    )


def _place_of(error: Exception) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"in {frame.name} ({Path(frame.filename).name}, line {frame.lineno})"
