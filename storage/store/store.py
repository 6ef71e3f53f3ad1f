"""The store: a folder or any fsspec URL that holds every result.

    <store>/<stage>/<variant>/variant.json      the variant's identity: settings, upstream variants
    <store>/<stage>/<variant>/done/<part>.json  the marker of a finished part, written last
    <store>/<stage>/<variant>/invalidated/      tombstones: items of parts that count no longer
    <store>/<stage>/<variant>/<Table>/<part>.parquet
    <store>/<stage>/<variant>/files/...         media and weights
    <store>/erased.json                         digests of erased participants
    <store>/.cache/                             files that can be computed again
    <store>/.erasing/                           erasures in progress
    <store>/.tmp/                               files being written, and signs of active processes

A part appears whole or not at all: files and tables are renamed into the variant before the marker.
"""

import contextlib
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import fsspec

from storage.errors import ConfigError
from storage.fingerprint import digest_stream
from storage.store.atomic import atomic_file, move_file, remove_abandoned, temporary_name
from storage.store.disk import creating, space_on, writing_to

Parsed = TypeVar("Parsed")
_State = tuple[int, str]

TEMPORARY = ".tmp"


class Store:
    """One store at a local path or fsspec URL, created if it does not exist.

    Paths of methods are relative to the store's root.

    Raises:
        ConfigError: the URL is empty or names an unknown protocol.
        StoreError: the location cannot be written.
    """

    def __init__(self, url: str) -> None:
        local_root(url)
        try:
            self.fs, self.root = fsspec.core.url_to_fs(url)
        except (ValueError, ImportError) as error:
            raise ConfigError(
                f"The store {url!r} cannot be opened ({error}): name a folder or an fsspec URL."
            ) from error
        self.url = url
        self.is_local = "file" in _protocols(self.fs)
        self._digests: dict[str, tuple[_State, str]] = {}
        self._parsed: dict[str, tuple[_State, object]] = {}
        with creating(self.url):
            self.fs.makedirs(self.full_path(TEMPORARY), exist_ok=True)
            probe = f"{TEMPORARY}/{temporary_name()}"
            self._write_bytes(probe, b"")
            self.fs.rm(self.full_path(probe))

    def __repr__(self) -> str:
        return f"Store({self.url!r})"

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
        self.fs.invalidate_cache()
        try:
            found = self.fs.ls(self.full_path(path), detail=True)
        except FileNotFoundError:
            return []
        names = (Path(row["name"]).name for row in found if row["type"] == "file")
        return sorted(f"{path}/{name}" for name in names)

    def write_bytes(self, path: str, content: bytes) -> None:
        """Write a file so that it appears whole or not at all."""
        with writing_to(self.url):
            self._write_bytes(path, content)

    def publish(self, local_path: Path, path: str) -> None:
        """Move a finished local file into the store in one step."""
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
        if self.exists(path):
            with writing_to(self.url):
                self.fs.rm(self.full_path(path), recursive=True)

    @contextlib.contextmanager
    def staging(self) -> Iterator[Path]:
        """Yield an empty local folder for files to be published; removed at the end.

        A local store's is on the same disk, so that publishing is a rename.
        """
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
        if not self.is_local:
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
        return remove_abandoned(self._temporary_folder) if self.is_local else 0

    def file_state(self, path: str) -> tuple[int, str] | None:
        """Return a file's size in bytes and content digest, or ``None`` if it is missing.

        The content is read once, until size, modification time or inode change.
        """
        state = self._state(path)
        if state is None:
            return None
        known, digest = self._digests.get(path, (None, ""))
        if known != state:
            with self.open(path) as stream:
                digest = digest_stream(stream)
            self._digests[path] = state, digest
        return state[0], digest

    def parsed(self, path: str, parse: Callable[[bytes], Parsed]) -> Parsed | None:
        """Parse a small file once, until it changes; returns ``None`` if it is missing."""
        state = self._state(path)
        if state is None:
            return None
        known, parsed = self._parsed.get(path, (None, None))
        if known != state:
            with self.open(path) as stream:
                parsed = parse(stream.read())
            self._parsed[path] = state, parsed
        return cast(Parsed, parsed)

    def _state(self, path: str) -> _State | None:
        """Return what changes whenever a file's content does; ``None`` if it is missing."""
        try:
            facts = self.fs.info(self.full_path(path))
        except FileNotFoundError:
            return None
        if facts["type"] != "file":
            return None
        stamps = [facts.get(name) for name in ("mtime", "ino", "ETag", "created")]
        return int(facts["size"]), str(stamps if any(stamps) else uuid.uuid4())

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
