"""Leases: one process at a time computes a stage's variant, in a store of any kind.

    <store>/.leases/<stage>.<variant>.<host>-<process>-<random>.json

Every process that works or waits has such a file and renews its beat (`lease_rules` has the order
of precedence). A process is dead if it is of this host and gone, or if an observer sees the same
beat for a minute of the observer's own time: no clocks are compared. Leases save double work and
nothing else: parts are immutable, so a lost lease costs time and never a result.
"""

import contextlib
import json
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime

from storage.store.atomic import is_of_dead_process, temporary_name
from storage.store.lease_rules import Claim, Partition, Step, next_step, next_ticket
from storage.store.store import Store
from storage.store.variant import Variant

LEASES = ".leases"
EXPIRY_SECONDS = 60.0
_BEATS_PER_EXPIRY = 12
_PATH = re.compile(r"\.leases/([^./]+)\.([^./]+)\.([^./]+)\.json")
_FIRST_POLL_SECONDS, _LAST_POLL_SECONDS = 0.1, 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseHolder:
    """A process that works on a stage's variant, or waits for it.

    ``started_at`` is the time of its host, in UTC, and only for display.
    """

    claim: Claim
    stage: str
    variant_id: str
    host: str
    process_id: int
    started_at: datetime

    def describe(self) -> str:
        """Describe the process for someone who waits for it."""
        started = self.started_at.astimezone()
        is_today = started.date() == datetime.now().astimezone().date()
        since = started.strftime("%H:%M" if is_today else "%Y-%m-%d %H:%M")
        does = "has worked on it" if self.claim.is_claiming else "has waited for it"
        return f"process {self.process_id} on {self.host}, which {does} since {since}"


@contextlib.contextmanager
def hold_leases(
    variants: Sequence[Variant],
    *,
    on_wait: Callable[[str], None],
    partition: Partition | None = None,
    expiry_seconds: float = EXPIRY_SECONDS,
) -> Iterator[bool]:
    """Hold the leases of variants for the block; wait while other processes compute them.

    ``on_wait`` gets a description of each process that is waited for. Yields whether it waited:
    results may then have appeared. Several are acquired in the same order by everyone, so that no
    two processes wait for each other.

    Raises:
        StoreError: the store cannot be written.
    """
    waited = False
    with contextlib.ExitStack() as stack:
        for variant in sorted(variants, key=lambda variant: variant.path):
            lease = _Lease(variant, partition, expiry_seconds)
            waited |= stack.enter_context(lease.held(on_wait))
        yield waited


def read_holders(store: Store) -> list[LeaseHolder]:
    """List the processes that work in a store or wait, without this host's dead ones."""
    return [_parse(path, c) for path, c in _read_files(store).items() if not _is_dead(path)]


def remove_expired_leases(store: Store, expiry_seconds: float = EXPIRY_SECONDS) -> None:
    """Remove the files of dead processes, also of other hosts; looks for so long if there are any.

    A process that is alive renews its file several times meanwhile.
    """
    remove_dead_leases(store)
    if before := _read_files(store):
        time.sleep(expiry_seconds)
        after = _read_files(store)
        for path in (path for path, content in before.items() if after.get(path) == content):
            _remove(store, path)


def processes_at_work(store: Store, expiry_seconds: float = EXPIRY_SECONDS) -> list[str]:
    """Describe the processes that work in a store or wait, without dead ones.

    If there are leases, those that are not renewed for ``expiry_seconds`` are removed first.
    """
    remove_expired_leases(store, expiry_seconds)
    return [holder.describe() for holder in read_holders(store)]


def remove_dead_leases(store: Store) -> int:
    """Remove the files of this host's dead processes; returns how many."""
    dead = [path for path in store.list_files(LEASES) if _is_dead(path)]
    for path in dead:
        _remove(store, path)
    return len(dead)


@dataclass
class _Lease:
    """One process's request for a variant, and its file."""

    variant: Variant
    partition: Partition | None
    expiry_seconds: float
    _seen: dict[str, tuple[bytes, float]] = field(default_factory=dict)
    _writing: threading.Lock = field(default_factory=threading.Lock)
    _ended: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._store = self.variant.store
        self._prefix = f"{self.variant.stage}.{self.variant.variant_id}."
        holder, self._beat = temporary_name(), 0
        self._path = f"{LEASES}/{self._prefix}{holder}.json"
        self._own = LeaseHolder(
            claim=Claim(ticket=0, holder=holder, is_claiming=False, partition=self.partition),
            stage=self.variant.stage,
            variant_id=self.variant.variant_id,
            host=socket.gethostname(),
            process_id=os.getpid(),
            started_at=datetime.now(UTC),
        )

    @contextlib.contextmanager
    def held(self, on_wait: Callable[[str], None]) -> Iterator[bool]:
        """Hold the lease for the block; yields whether it had to wait."""
        renewal = threading.Thread(target=self._renew, daemon=True, name="lease")
        try:
            others = self._others()
            ticket = next_ticket([other.claim for other in others])
            self._write(replace(self._own.claim, ticket=ticket, is_claiming=not others))
            renewal.start()
            waited = self._acquire(on_wait)
            yield waited
        finally:
            self._ended.set()
            if renewal.is_alive():
                renewal.join()
            _remove(self._store, self._path)

    def _acquire(self, on_wait: Callable[[str], None]) -> bool:
        described, waited, poll, known = "", False, _FIRST_POLL_SECONDS, set[str]()
        while True:
            claim, others = self._own.claim, self._others()
            step = next_step(claim, [other.claim for other in others])
            if step is Step.WORK:
                return waited
            if step is not Step.WAIT:
                self._write(replace(claim, is_claiming=step is Step.CLAIM))
                continue
            waited = True
            first = min(others, key=lambda other: (not other.claim.is_claiming, other.claim.order))
            if first.claim.is_claiming and (message := first.describe()) != described:
                described = message
                on_wait(message)
            present = {other.claim.holder for other in others}
            poll = min(2 * poll, _LAST_POLL_SECONDS) if present == known else _FIRST_POLL_SECONDS
            known = present
            time.sleep(min(poll, self.expiry_seconds / _BEATS_PER_EXPIRY))

    def _others(self) -> list[LeaseHolder]:
        """List the live processes that exclude this one; removes the files of dead ones."""
        now = time.monotonic()
        found = []
        for path, content in _read_files(self._store, self._prefix, but=self._path).items():
            known, since = self._seen.get(path, (content, now))
            self._seen[path] = content, since if known == content else now
            if _is_dead(path) or now - self._seen[path][1] > self.expiry_seconds:
                _remove(self._store, path)
            elif self._own.claim.excludes((holder := _parse(path, content)).claim):
                found.append(holder)
        return found

    def _write(self, claim: Claim | None = None) -> None:
        """Write the own file with a new beat; a beat never overwrites a newer claim."""
        with self._writing:
            self._own = replace(self._own, claim=claim or self._own.claim)
            self._beat += 1
            content = {"beat": self._beat, **asdict(self._own)}
            text = json.dumps(content | {"started_at": self._own.started_at.isoformat()})
            self._store.write_bytes(self._path, text.encode())

    def _renew(self) -> None:
        """Write beats until the lease ends; also a file that another process took for dead."""
        while not self._ended.wait(self.expiry_seconds / _BEATS_PER_EXPIRY):
            # Whatever the store's library raises: a lost lease only costs double work.
            with contextlib.suppress(Exception):
                self._write()


def _read_files(store: Store, prefix: str = "", but: str = "") -> dict[str, bytes]:
    """Read the files of all leases whose names start with ``prefix``, by path, ``but`` for one."""
    files = {}
    for path in store.list_files(LEASES):
        if path.startswith(f"{LEASES}/{prefix}") and path != but and _PATH.fullmatch(path):
            with contextlib.suppress(FileNotFoundError):  # released meanwhile
                files[path] = store.read_bytes(path)
    return files


def _parse(path: str, content: bytes) -> LeaseHolder:
    """Read a file; one that is damaged counts as a process that works on all items."""
    stage, variant_id, holder, _ = path.removeprefix(f"{LEASES}/").split(".")
    try:
        fields = json.loads(content)
        claim = fields["claim"]
        partition = claim["partition"] and (int(claim["partition"][0]), int(claim["partition"][1]))
        return LeaseHolder(
            claim=Claim(
                ticket=int(claim["ticket"]), holder=holder,
                is_claiming=bool(claim["is_claiming"]), partition=partition,
            ),
            stage=stage,
            variant_id=variant_id,
            host=str(fields["host"]),
            process_id=int(fields["process_id"]),
            started_at=datetime.fromisoformat(fields["started_at"]),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, IndexError):
        return LeaseHolder(
            claim=Claim(ticket=0, holder=holder, is_claiming=True),
            stage=stage,
            variant_id=variant_id,
            host="an unknown host",
            process_id=0,
            started_at=datetime.now(UTC),
        )


def _is_dead(path: str) -> bool:
    """Return whether a lease's file is of this host and of a process that is gone."""
    return is_of_dead_process(path.removesuffix(".json").rpartition(".")[2])


def _remove(store: Store, path: str) -> None:
    """Remove a lease's file, if it is there; one that cannot be removed expires."""
    with contextlib.suppress(Exception):
        store.remove(path)
