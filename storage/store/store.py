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
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar, cast

import fsspec

from storage.errors import ConfigError, ReadOnlyError
from storage.fingerprint import digest_stream
from storage.store.atomic import atomic_file, move_file, remove_abandoned, temporary_name
from storage.store.disk import creating, space_on, writing_to
from storage.store.file_identity import Identity, identity_of, identity_of_object
from storage.store.file_index import FileIndex, Verification

Parsed = TypeVar("Parsed")

CACHE_FOLDER = ".cache"
TEMPORARY = ".tmp"


class Store:
    """One store at a local path or fsspec URL, created if it does not exist.

    Paths of methods are relative to the store's root. ``verification`` is when the content of
    unchanged files is read again. A ``read_only`` store need not exist, and nothing is written.

    Raises:
        ConfigError: the URL is empty or names an unknown protocol.
        StoreError: the location cannot be written.
    """

    def __init__(
        self, url: str, verification: Verification | None = None, *, read_only: bool = False
    ) -> None:
        local_root(url)
        try:
            self.fs, self.root = fsspec.core.url_to_fs(url)
        except (ValueError, ImportError) as error:
            raise ConfigError(
                f"The store {url!r} cannot be opened ({error}): name a folder or an fsspec URL."
            ) from error
        self.url = url
        self.is_local = "file" in _protocols(self.fs)
        self.read_only = read_only
        self._verification = verification or Verification()
        self._indexes: dict[str, FileIndex] = {}
        self._parsed: dict[str, tuple[Identity, object]] = {}
        if read_only:
            return
        with creating(self.url):
            self.fs.makedirs(self.full_path(TEMPORARY), exist_ok=True)
            probe = f"{TEMPORARY}/{temporary_name()}"
            self._write_bytes(probe, b"")
            self.fs.rm(self.full_path(probe))

    def __repr__(self) -> str:
        return f"Store({self.url!r})"

    def __reduce__(self) -> tuple[Callable[[], "Store"], tuple[()]]:
        """Open the store again in the process that unpickles it."""
        return partial(Store, self.url, self._verification, read_only=self.read_only), ()

    def full_path(self, path: str) -> str:
        """Return a path for `fs`; for a local store, the absolute local path."""
        return f"{self.root}/{path}"

    def open(self, path: str) -> Any:
        """Open a stored file for reading in binary mode."""
        return self.fs.open(self.full_path(path), "rb")

    def exists(self, path: str) -> bool:
        """Return whether a file or folder exists."""
        return bool(self.fs.exists(self.full_path(path)))

    def list_files(self, path: str) -> list[str]:
        """List the files directly in a folder, sorted; empty if the folder does not exist."""
        if self.is_local:
            return _list_local(self.full_path(path), path)
        self.fs.invalidate_cache()
        try:
            found = self.fs.ls(self.full_path(path), detail=True)
        except FileNotFoundError:
            return []
        names = (Path(row["name"]).name for row in found if row["type"] == "file")
        return sorted(f"{path}/{name}" for name in names)

    def write_bytes(self, path: str, content: bytes) -> None:
        """Write a file so that it appears whole or not at all."""
        self.check_writable()
        with writing_to(self.url):
            self._write_bytes(path, content)

    def publish(self, local_path: Path, path: str) -> None:
        """Move a finished local file into the store in one step."""
        self.check_writable()
        with writing_to(self.url):
            destination = self.full_path(path)
            self.fs.makedirs(destination.rsplit("/", 1)[0], exist_ok=True)
            if not self.is_local:
                self.fs.put_file(str(local_path), destination)
                local_path.unlink()
                return
            move_file(local_path, Path(destination), temporary_folder=self._temporary_folder)

    def remove(self, path: str) -> None:
        """Remove a file or a whole folder, if it exists."""
        self.check_writable()
        if self.exists(path):
            with writing_to(self.url):
                self.fs.rm(self.full_path(path), recursive=True)

    @contextlib.contextmanager
    def staging(self) -> Iterator[Path]:
        """Yield an empty local folder for files to be published; removed at the end.

        A local store's is on the same disk, so that publishing is a rename.
        """
        self.check_writable()
        parent = self._temporary_folder if self.is_local else Path(tempfile.gettempdir())
        folder = parent / temporary_name()
        with writing_to(self.url):
            folder.mkdir(parents=True)
        try:
            with space_on(str(parent)):
                yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Show other processes that results are being computed; does nothing in a remote store."""
        if not self.is_local or self.read_only:
            yield
            return
        sign = self._temporary_folder / temporary_name()
        with writing_to(self.url):
            sign.touch()
        try:
            yield
        finally:
            sign.unlink(missing_ok=True)

    def sweep(self) -> int:
        """Remove temporary files and folders of dead processes; returns how many."""
        if self.read_only or not self.is_local:
            return 0
        return remove_abandoned(self._temporary_folder)

    def file_state(self, path: str) -> tuple[int, str] | None:
        """Read a file; returns its size in bytes and content digest, or ``None`` if missing."""
        try:
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
        if self.is_local:
            return identity_of(self.full_path(path))
        return identity_of_object(self.fs.info(self.full_path(path)))

    def parsed(self, path: str, parse: Callable[[bytes], Parsed]) -> Parsed | None:
        """Parse a small file once, until it changes; returns ``None`` if it is missing."""
        try:
            identity = self.identity(path)
            known, parsed = self._parsed.get(path, (None, None))
            if known != identity:
                with self.open(path) as stream:
                    parsed = parse(stream.read())
                self._parsed[path] = identity, parsed
        except FileNotFoundError:
            return None
        return cast(Parsed, parsed)

    def index(self, kind: str) -> FileIndex:
        """Return the index of one kind of facts about files, such as their digests."""
        path = f"{CACHE_FOLDER}/index/{kind}.parquet"

        def read() -> bytes:
            with self.open(path) as stream:
                return stream.read()

        if kind not in self._indexes:
            index = FileIndex(read, partial(self.write_bytes, path), self._verification)
            self._indexes.setdefault(kind, index)
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
    def _temporary_folder(self) -> Path:
        return Path(self.full_path(TEMPORARY))

    def _write_bytes(self, path: str, content: bytes) -> None:
        destination = self.full_path(path)
        if self.is_local:
            folder = self._temporary_folder
            with atomic_file(Path(destination), temporary_folder=folder) as temporary:
                temporary.write_bytes(content)
        else:
            self.fs.makedirs(destination.rsplit("/", 1)[0], exist_ok=True)
            self.fs.pipe_file(destination, content)


def _list_local(folder: str, path: str) -> list[str]:
    try:
        with os.scandir(folder) as found:
            return sorted(f"{path}/{entry.name}" for entry in found if entry.is_file())
    except (FileNotFoundError, NotADirectoryError):
        return []


@cache
def store_of_process(url: str) -> Store:
    """Open a store once per process: opening writes a file, and workers read many samples."""
    return Store(url)


def local_root(url: str) -> Path | None:
    """Return the local folder that a store's URL names, or ``None`` if it is remote.

    Raises:
        ConfigError: the URL is empty, or contains a NUL byte.
    """
    protocol, path = fsspec.core.split_protocol(url)
    if protocol not in (None, "file", "local"):
        return None
    if not path.strip():
        raise ConfigError(f"The store's path is empty ({url!r}): name a folder with --store.")
    if "\0" in path:
        raise ConfigError(f"The store {url!r} contains a NUL byte: name another with --store.")
    return Path(path)


def is_missing(url: str) -> bool:
    """Return whether a URL names a local folder that does not exist, without creating it.

    Raises:
        ConfigError: as `local_root`.
        StoreError: the folder's parents cannot be read.
    """
    root = local_root(url)
    if root is None:
        return False
    with creating(url):
        return not root.is_dir()


def _protocols(fs: Any) -> tuple[str, ...]:
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)
