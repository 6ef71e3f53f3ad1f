"""Find what a store may lose, and remove it while nobody works in the store."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from flows.upkeep.garbage import Garbage, StoredFile, files_below, in_variant, remove, whole_variant
from flows.upkeep.needed import all_variants, needed_variants
from storage.errors import StoreError
from storage.store.atomic import is_abandoned
from storage.store.journal import surplus_paths
from storage.store.lease import EXPIRY_SECONDS, read_holders, remove_expired_leases
from storage.store.store import TEMPORARY, Store

DAY_SECONDS = 24 * 3600.0
_RUNS_KEPT = 200  # of each stage in the journal


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What can be removed, and the variants that stay, each with the reason."""

    garbage: tuple[Garbage, ...]
    needed: dict[str, str]

    @property
    def num_bytes(self) -> int:
        """Size of everything that can be removed."""
        return sum(found.num_bytes for found in self.garbage)


def find_garbage(store: Store, profiles: Sequence[str], keep_days: float) -> Findings:
    """Find what nothing needs; ``profiles`` are kept besides those that come with Waver.

    Raises:
        ConfigError: there is no such profile, or its models cannot be read.
    """
    keep_seconds = keep_days * DAY_SECONDS
    needed = needed_variants(store, profiles, keep_seconds)
    garbage: list[Garbage] = []
    for path in all_variants(store):
        if path in needed:
            garbage.extend(in_variant(store, path, keep_seconds))
        else:
            garbage.append(whole_variant(store, path))
    garbage.extend(_journal(store))
    garbage.extend(_temporaries(store))
    return Findings(garbage=tuple(garbage), needed=needed)


def _journal(store: Store) -> Iterator[Garbage]:
    paths = surplus_paths(store, per_stage=_RUNS_KEPT)
    if paths:
        sizes = files_below(store, "runs")
        yield Garbage(
            group="journal",
            name="old or damaged records",
            num_bytes=sum(sizes.get(path, StoredFile(num_bytes=0, modified_at=0)).num_bytes
                          for path in paths),
            num_files=len(paths),
            paths=tuple(paths),
        )  # fmt: skip


def _temporaries(store: Store) -> Iterator[Garbage]:
    """Yield what dead processes left behind; a remote store has no such files."""
    folder = Path(store.full_path(TEMPORARY))
    if not store.is_local or not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if is_abandoned(path):
            name = f"{TEMPORARY}/{path.name}"
            files = files_below(store, name)
            yield Garbage(
                group="temporaries", name=name, num_files=max(1, len(files)), paths=(name,),
                num_bytes=sum(file.num_bytes for file in files.values()),
            )  # fmt: skip


def remove_garbage(
    store: Store, find: Callable[[], Findings], expiry_seconds: float = EXPIRY_SECONDS
) -> Findings:
    """Find again and remove, while nobody works in the store; returns what was found.

    If there are leases, those that are not renewed for ``expiry_seconds`` are removed first.

    Raises:
        StoreError: a run is at work in the store, or begins to; what is left stays for later.
    """
    remove_expired_leases(store, expiry_seconds)
    with _alone(store) as check_alone:
        found = find()
        for garbage in found.garbage:
            check_alone()
            remove(store, garbage)
    return found


@contextmanager
def _alone(store: Store) -> Iterator[Callable[[], None]]:
    """Show that this process works in the store, and yield a check that no other one does."""
    before = _others(store, frozenset())
    if before:
        raise _at_work(store, before)
    with store.at_work():
        own = frozenset(_signs(store)) if store.is_local else frozenset[str]()

        def check() -> None:
            if others := _others(store, own):
                raise _at_work(store, others)

        yield check


def _others(store: Store, own: frozenset[str]) -> list[str]:
    holders = [f"process {holder.process_id} on {holder.host}" for holder in read_holders(store)]
    return [*holders, *(sign for sign in _signs(store) if sign not in own)]


def _signs(store: Store) -> list[str]:
    folder = Path(store.full_path(TEMPORARY))
    if not store.is_local or not folder.is_dir():
        return []
    return [path.name for path in folder.iterdir() if not is_abandoned(path)]


def _at_work(store: Store, others: Sequence[str]) -> StoreError:
    return StoreError(
        f"Another process ({others[0]}) works in the store {store.url!r}: wait for its end, and "
        "run `waver gc` again; what it has removed so far was not needed."
    )
