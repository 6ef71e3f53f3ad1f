"""An index of facts about files, each valid while its files keep their identity.

A key is a digest, so that the index names nobody; erasing a participant removes it as a whole. The
file is replaced in one step, with the rows that others have written meanwhile; a damaged or missing
one costs that everything is read again. Of two processes that write at the same moment one may lose
its rows, which are then measured again.
"""

import contextlib
import hashlib
import io
import os
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from storage.schema import read_parquet, write_parquet
from storage.store.file_identity import Identity, identity_of

_DAY_NS = 24 * 3600 * 1_000_000_000
_DIGEST_BYTES = 16
_NO_IDENTITY = bytes(_DIGEST_BYTES)
_SCHEMA = pa.schema(
    [
        pa.field("key", pa.binary(_DIGEST_BYTES), nullable=False),
        pa.field("identity", pa.binary(_DIGEST_BYTES), nullable=False),
        pa.field("value", pa.string(), nullable=False),
        pa.field("measured_ns", pa.int64(), nullable=False),
    ]
)
Entry = tuple[bytes, str, int]
Key = TypeVar("Key")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """How long facts about unchanged files are trusted before the files are read again.

    ``everything`` trusts none; otherwise each is read again after half of ``days`` to ``days``,
    spread over the files so that no run has to read all of them.
    """

    days: float = 30.0
    everything: bool = False


class FileIndex:
    """The facts of one kind, each a text by the name of what it is about.

    ``read`` and ``write`` exchange the whole index file, in one step. ``num_read`` counts
    measurements, ``num_silent`` those that found another value although the identity was the same:
    damage that no time stamp shows. Safe to use from several threads.
    """

    def __init__(
        self,
        read: Callable[[], bytes],
        write: Callable[[bytes], object],
        verification: Verification,
    ) -> None:
        self._read = read
        self._write = write
        self._verification = verification
        self._own: set[bytes] = set()
        self._entries: dict[bytes, Entry] | None = None
        self._new: dict[bytes, Entry] = {}
        self._lock = threading.RLock()
        self.num_read = 0
        self.num_silent = 0

    def iter_facts(
        self,
        paths: Mapping[Key, Path],
        read: Callable[[Path], str],
        *,
        catching: tuple[type[Exception], ...] = (OSError,),
    ) -> Generator[tuple[Key, str | Exception], None, None]:
        """Yield the fact about each local file, or the error that reading it raised.

        Known facts come first. ``read`` finds the others, in threads, one for each core; those
        that have not started are canceled when the generator is closed.
        """
        unknown: dict[Key, tuple[Path, Identity | None]] = {}
        for key, path in paths.items():
            try:
                identity = identity_of(path)
            except OSError:  # read will raise as well, or explain
                unknown[key] = path, None
                continue
            known = self.known(_name_of(path), identity)
            if known is None:
                unknown[key] = path, identity
            else:
                yield key, known

        def find(file: tuple[Path, Identity | None]) -> str | Exception:
            try:
                return self._read_fact(*file, read)
            except catching as error:
                return error

        pool = ThreadPoolExecutor(max_workers=os.cpu_count())
        try:
            yield from zip(unknown, pool.map(find, unknown.values()), strict=True)
        finally:
            pool.shutdown(cancel_futures=True)

    def _read_fact(self, path: Path, identity: Identity | None, read: Callable[[Path], str]) -> str:
        started_ns = time.time_ns()
        value = read(path)
        if identity is None:
            return value
        is_settled = identity.is_settled(started_ns) and identity_of(path) == identity
        return self.record(_name_of(path), identity, value, is_settled=is_settled)

    def known(self, name: str, identity: Identity) -> str | None:
        """Return what is known about ``name`` with this identity, and recently enough."""
        key = _digest(name)
        entry = self._loaded().get(key)
        if entry is None or entry[0] != _digest(identity.text):
            return None
        return entry[1] if self._is_trusted(key, entry[2]) else None

    def record(self, name: str, identity: Identity, value: str, *, is_settled: bool) -> str:
        """Record what was read just now, and return it.

        ``is_settled`` is whether the identity was the same before and after the reading, and
        settled before it. Otherwise nothing is recorded, and the next look reads again.
        """
        key, stamp = _digest(name), _digest(identity.text)
        with self._lock:
            entries = self._loaded()
            previous = entries.pop(key, None)
            self._new.pop(key, None)
            self.num_read += 1
            if previous is not None and previous[0] == stamp and previous[1] != value:
                self.num_silent += 1
            if is_settled:
                entries[key] = self._new[key] = (stamp, value, time.time_ns())
            self._own.add(key)
        return value

    def distrust(self, path: Path) -> bool:
        """Trust a local file's fact only if this process has read it; return whether it has not."""
        name = _name_of(path)
        if _digest(name) in self._own:
            return False
        self.discard(name)
        return True

    def discard(self, name: str) -> None:
        """Trust nothing that is known about ``name``, in other processes neither."""
        key = _digest(name)
        with self._lock:
            if key in self._loaded():
                self._loaded()[key] = self._new[key] = (_NO_IDENTITY, "", time.time_ns())

    def take_silent(self) -> int:
        """Return ``num_silent`` and reset it, for a single report."""
        with self._lock:
            found, self.num_silent = self.num_silent, 0
            return found

    def save(self) -> None:
        """Write what is new, together with what others have written meanwhile.

        Raises:
            StoreError: the store cannot be written.
        """
        with self._lock:
            if not self._new:
                return
            entries = _decode(self._read)
            for key, entry in self._new.items():
                if key not in entries or entries[key][2] <= entry[2]:
                    entries[key] = entry
            oldest_ns = time.time_ns() - int(self._verification.days * _DAY_NS)
            kept = {key: entry for key, entry in entries.items() if entry[2] > oldest_ns}
            self._write(_encode(kept))
            self._new.clear()

    def _loaded(self) -> dict[bytes, Entry]:
        with self._lock:
            if self._entries is None:
                self._entries = _decode(self._read)
            return self._entries

    def _is_trusted(self, key: bytes, measured_ns: int) -> bool:
        if key in self._own:
            return True
        age_ns = time.time_ns() - measured_ns
        limit_ns = self._verification.days * _DAY_NS * (0.5 + key[0] / 510)
        return not self._verification.everything and 0 <= age_ns < limit_ns


def _decode(read: Callable[[], bytes]) -> dict[bytes, Entry]:
    """Read the stored entries; none if the file is missing or damaged."""
    with contextlib.suppress(OSError, ValueError, KeyError, pa.ArrowException):
        table = read_parquet(pa.BufferReader(read()))
        columns = [table[name].to_pylist() for name in _SCHEMA.names]
        if (table.schema.metadata or {})[b"digest"] == _content_digest(columns):
            return {row[0]: row[1:] for row in zip(*columns, strict=True)}
    return {}


def _encode(entries: dict[bytes, Entry]) -> bytes:
    columns = list(_columns(entries))
    schema = _SCHEMA.with_metadata({b"digest": _content_digest(columns)})
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    sink = io.BytesIO()
    write_parquet(pa.Table.from_arrays(arrays, schema=schema), sink)
    return sink.getvalue()


def _columns(entries: dict[bytes, Entry]) -> Iterator[list[object]]:
    yield list(entries)
    for position in range(3):
        yield [entry[position] for entry in entries.values()]


def _content_digest(columns: list[list[object]]) -> bytes:
    """Digest all values, since Parquet itself does not notice every damage."""
    keys, identities, values, times = columns
    state = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for column in (keys, identities):
        state.update(b"".join(column))  # type: ignore[arg-type]
    for texts in (values, times):
        state.update("\n".join(map(str, texts)).encode(errors="surrogatepass"))
    return state.hexdigest().encode()


def memory_index() -> FileIndex:
    """Return an index that starts empty and is not stored."""

    def read() -> bytes:
        raise FileNotFoundError

    return FileIndex(read, lambda _: None, Verification())


def _name_of(path: Path) -> str:
    return os.path.abspath(path)  # noqa: PTH100 - a Path for each of many files costs more


def _digest(text: str) -> bytes:
    encoded = text.encode(errors="surrogatepass")
    return hashlib.blake2b(encoded, digest_size=_DIGEST_BYTES).digest()
