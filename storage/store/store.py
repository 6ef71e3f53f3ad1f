"""The store: a folder or any fsspec URL that holds every result.

    <store>/<stage>/<variant>/variant.json      the variant's identity: settings, upstream variants
    <store>/<stage>/<variant>/done/<part>.json  the marker of a finished part, written last
    <store>/<stage>/<variant>/invalidated/      tombstones: items of parts that count no longer
    <store>/<stage>/<variant>/<Table>/<part>.parquet
    <store>/<stage>/<variant>/files/...         media and weights
    <store>/erased.json                         digests of erased participants
    <store>/.cache/                             files that can be computed again
    <store>/.cache/index/<kind>.parquet         facts about files that have not changed
    <store>/.erasing/                           erasures in progress
    <store>/.leases/                            who computes which variant now (`lease`)
    <store>/.tmp/                               files being written, and signs of active processes

A part appears whole or not at all: files and tables are renamed into the variant before the marker.
"""

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar, cast

import fsspec

from storage.errors import ReadOnlyError
from storage.fingerprint import digest_stream
from storage.store.atomic import atomic_file, move_file, remove_abandoned, temporary_name
from storage.store.disk import creating, writing_to
from storage.store.file_identity import Identity, identity_of
from storage.store.file_index import FileIndex, Verification
from storage.store.local_files import list_folder, list_tree
from storage.store.remote.copies import PartCopies
from storage.store.remote.files import NUM_THREADS, RemoteFiles
from storage.store.temporary import folder_of_user, sign_of_process, staging_folder
from storage.store.url import local_root

Parsed = TypeVar("Parsed")

CACHE_FOLDER = ".cache"
TEMPORARY = ".tmp"


class Store:
    """One store at a local path or fsspec URL, created if it does not exist.

    Paths of methods are relative to the store's root. ``verification`` is when the content of
    unchanged files is read again. A ``read_only`` store need not exist, and nothing is written.

    Raises:
        ConfigError: the URL is empty or names an unknown protocol.
        StoreError: the location cannot be reached or written.
        ToolError: the library for the URL's protocol is not installed.
    """

    def __init__(
        self, url: str, verification: Verification | None = None, *, read_only: bool = False
    ) -> None:
        self.remote = None if local_root(url) else RemoteFiles(url)
        self.copies = PartCopies(self.remote, read_only=read_only) if self.remote else None
        self._local_fs: Any = None if self.remote else fsspec.filesystem("file")
        self.root: str = self.remote.root if self.remote else fsspec.core.url_to_fs(url)[1]
        self.url = url
        self.read_only = read_only
        self._verification = verification or Verification()
        self._indexes: dict[str, FileIndex] = {}
        self._parsed: dict[str, tuple[Identity, object]] = {}
        self._changes: Counter[str] = Counter()
        self._present: set[str] = set()
        if not read_only:
            self._try_writing()

    def _try_writing(self) -> None:
        probe = f"{TEMPORARY}/{temporary_name()}"
        if self.remote:
            return self.remote.check_writable(probe)
        with creating(self.url):
            self._write_bytes(probe, b"")
            return Path(self.full_path(probe)).unlink()

    def __repr__(self) -> str:
        return f"Store({self.url!r})"

    def __reduce__(self) -> tuple[Callable[[], "Store"], tuple[()]]:
        """Open the store again in the process that unpickles it, whatever folder it works in."""
        url = self.url if self.remote else self.root
        return partial(Store, url, self._verification, read_only=self.read_only), ()

    @property
    def is_local(self) -> bool:
        """True if the store is a folder of this node."""
        return self.remote is None

    @property
    def fs(self) -> Any:
        """The fsspec file system."""
        return self.remote.fs if self.remote else self._local_fs

    @property
    def num_threads(self) -> int:
        """How many files are read at once: one per core, or more from a remote store."""
        return NUM_THREADS if self.remote else os.cpu_count() or 1

    def full_path(self, path: str) -> str:
        """Return a path for `fs`; for a local store, the absolute local path."""
        return f"{self.root}/{path}"

    def location(self, path: str) -> str:
        """Return a path as users are shown it: an absolute local path, or a URL."""
        return f"{self.url.rstrip('/')}/{path}" if self.remote else self.full_path(path)

    def open(self, path: str) -> Any:
        """Open a stored file for reading in binary mode; a remote one is read into memory."""
        return self.remote.open(path) if self.remote else self.fs.open(self.full_path(path), "rb")

    def read_bytes(self, path: str) -> bytes:
        """Read a whole file.

        Raises:
            FileNotFoundError: there is none.
        """
        with self.open(path) as stream:
            return cast(bytes, stream.read())

    def exists(self, path: str) -> bool:
        """Return whether a file or folder exists."""
        return self.remote.exists(path) if self.remote else Path(self.full_path(path)).exists()

    def list_files(self, path: str) -> list[str]:
        """List the files directly in a folder, sorted; empty if the folder does not exist."""
        return list(self.list_identities(path))

    def list_identities(self, path: str) -> dict[str, Identity | None]:
        """Map the files directly in a folder, sorted, to their identities.

        These are ``None`` in a local store, where a look at each file is cheap.
        """
        if not self.remote:
            return dict.fromkeys(list_folder(self.root, path))
        found = self.remote.list_tree(path)
        return {p: identity for p, identity in found.items() if p.rpartition("/")[0] == path}

    def list_tree(self, path: str) -> dict[str, Identity]:
        """Map all files below a folder, or of the store, sorted, to their identities.

        This is one listing of a remote store: a request per 1,000 objects.
        """
        return self.remote.list_tree(path) if self.remote else list_tree(self.root, path)

    def write_bytes(self, path: str, content: bytes) -> Identity | None:
        """Write a file so that it appears whole or not at all.

        Returns its identity if a remote store reports it.
        """
        self._before_change(path)
        with writing_to(self.url):
            return self._write_bytes(path, content)

    def ensure(self, path: str, content: bytes) -> None:
        """Write a file unless it exists; a process looks once in a remote store."""
        if not ((self.remote and path in self._present) or self.exists(path)):
            self.write_bytes(path, content)
        self._present.add(path)

    def publish(self, local_path: Path, path: str) -> Identity | None:
        """Move a finished local file into the store in one step; returns as `write_bytes`."""
        self._before_change(path)
        with writing_to(self.url):
            if self.remote:
                return self.remote.publish(local_path, path)
            destination = Path(self.full_path(path))
            destination.parent.mkdir(parents=True, exist_ok=True)
            move_file(local_path, destination, temporary_folder=self._temporary_folder)
            return None

    def remove(self, path: str) -> None:
        """Remove a file or a whole folder, if it exists."""
        self._before_change(path)
        if self.remote:
            self.remote.remove(path)
        elif self.exists(path):
            with writing_to(self.url):
                self.fs.rm(self.full_path(path), recursive=True)

    def num_changes(self, variant_path: str) -> int:
        """Return how often this object has changed a variant of the store."""
        return self._changes[variant_path]

    @contextlib.contextmanager
    def staging(self) -> Iterator[Path]:
        """Yield an empty folder for files to be published, on a local store's own disk."""
        self.check_writable()
        with staging_folder(self._staging_parent, self.url) as folder:
            yield folder

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Show other processes that results are being computed; does nothing in a remote store."""
        with contextlib.ExitStack() as stack:
            if self.is_local and not self.read_only:
                stack.enter_context(sign_of_process(self._temporary_folder, self.url))
            yield

    def sweep(self) -> int:
        """Remove temporary files and folders of dead processes; returns how many."""
        return 0 if self.read_only else remove_abandoned(self._staging_parent)

    def file_state(self, path: str, expected_size: int | None = None) -> tuple[int, str] | None:
        """Read a file; returns its size in bytes and content digest, or ``None`` if missing."""
        try:
            if self.remote:
                return self.remote.state(path, expected_size)
            size = self.identity(path).size
            with self.open(path) as stream:
                return size, digest_stream(stream)
        except FileNotFoundError:
            return None

    def identity(self, path: str) -> Identity:
        """Return what changes whenever a file's content does.

        Raises:
            FileNotFoundError: there is no such file.
        """
        return self.remote.identity(path) if self.remote else identity_of(self.full_path(path))

    def parsed(
        self,
        path: str,
        parse: Callable[[bytes], Parsed],
        identity: Identity | None = None,
        read: Callable[[], bytes] | None = None,
    ) -> Parsed | None:
        """Parse a small file once, until it changes; returns ``None`` if it is missing.

        ``identity`` is what a listing has just shown, ``read`` how to read it other than from its
        path.
        """
        try:
            identity = identity or self.identity(path)
            known, parsed = self._parsed.get(path, (None, None))
            if known != identity:
                parsed = parse((read or partial(self.read_bytes, path))())
                self._parsed[path] = identity, parsed
        except FileNotFoundError:
            return None
        return cast(Parsed, parsed)

    def index(self, kind: str) -> FileIndex:
        """Return the index of one kind of facts about files, such as their digests."""
        path = f"{CACHE_FOLDER}/index/{kind}.parquet"
        if kind not in self._indexes:
            read, write = partial(self.read_bytes, path), partial(self.write_bytes, path)
            self._indexes.setdefault(kind, FileIndex(read, write, self._verification))
        return self._indexes[kind]

    def save_indexes(self) -> None:
        """Write what the indexes have learned, for the next process."""
        for index in () if self.read_only else list(self._indexes.values()):
            index.save()

    def check_writable(self) -> None:
        """Raise if the store was opened for reading only.

        Raises:
            ReadOnlyError: it was.
        """
        if self.read_only:
            raise ReadOnlyError(f"The store {self.url!r} was opened for reading only.")

    @property
    def _staging_parent(self) -> Path:
        return self._temporary_folder if self.is_local else folder_of_user()

    @property
    def _temporary_folder(self) -> Path:
        return Path(self.full_path(TEMPORARY))

    def _write_bytes(self, path: str, content: bytes) -> Identity | None:
        if self.remote:
            return self.remote.write(path, content)
        destination, folder = Path(self.full_path(path)), self._temporary_folder
        with atomic_file(destination, temporary_folder=folder) as temporary:
            temporary.write_bytes(content)
        return None

    def _before_change(self, path: str) -> None:
        self.check_writable()
        self._changes["/".join(path.split("/")[:2])] += 1


@cache
def store_of_process(url: str) -> Store:
    """Open a store once per process: opening writes a file, and workers read many samples."""
    return Store(url)
