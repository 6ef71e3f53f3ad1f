"""The store: a folder or any fsspec URL that holds every result, and is the truth about them.

    <store>/<stage>/<variant>/variant.json      what makes this variant: settings, upstream
    <store>/<stage>/<variant>/done/<part>.json  the marker of a finished part, written last
    <store>/<stage>/<variant>/forgotten/        which parts do not count any more for which items
    <store>/<stage>/<variant>/<Table>/<part>.parquet
    <store>/<stage>/<variant>/files/...         media and weights
    <store>/forgotten.json                      digests of participants who are left out
    <store>/.cache/                             what can be made again from the data set
    <store>/.tmp/                               what is being written; nothing reads it

A part appears whole or not at all: files and tables are put in place by rename, then the marker.
"""

import contextlib
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

import fsspec

from storage.errors import ConfigError
from storage.fingerprint import digest_stream
from storage.store.atomic import atomic_file, move_file, remove_abandoned, temporary_name
from storage.store.disk import creating, space_on, writing_to

Parsed = TypeVar("Parsed")
_Place = tuple[str, str, str]
_State = tuple[int, str]

TEMPORARY = ".tmp"
# What is known of stored files' content in this process, whichever store object asks for it.
_DIGESTS: dict[_Place, tuple[_State, str]] = {}
_PARSED: dict[_Place, tuple[_State, object]] = {}


class Store:
    """One store at a local path or fsspec URL; made if it is not there.

    Raises:
        ConfigError: the URL names an unknown protocol.
        StoreError: the place cannot be written.
    """

    def __init__(self, url: str) -> None:
        try:
            self.fs, self.root = fsspec.core.url_to_fs(str(url))
        except (ValueError, ImportError) as error:
            raise ConfigError(
                f"The store {url!r} cannot be opened ({error}): name a folder or an fsspec URL."
            ) from error
        self.url = str(url)
        self.is_local = "file" in _protocols(self.fs)
        with creating(self.url):
            self.fs.makedirs(self.full_path(TEMPORARY), exist_ok=True)
            probe = f"{TEMPORARY}/{temporary_name()}"
            self._write_bytes(probe, b"")
            self.fs.rm(self.full_path(probe))

    def __repr__(self) -> str:
        return f"Store({self.url!r})"

    def full_path(self, path: str) -> str:
        """Give the path that this store's file system (and, for a folder, the user) knows."""
        return f"{self.root}/{path}"

    def open(self, path: str) -> Any:
        """Open a stored file for reading in binary."""
        return self.fs.open(self.full_path(path), "rb")

    def exists(self, path: str) -> bool:
        """Say whether a file or folder is there."""
        return bool(self.fs.exists(self.full_path(path)))

    def list_files(self, path: str) -> list[str]:
        """List a folder's own files, sorted, relative to the root; empty if it is not there."""
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
        """Move a finished local file into the store in one step; the local file is gone after."""
        with writing_to(self.url):
            destination = self.full_path(path)
            self.fs.makedirs(destination.rsplit("/", 1)[0], exist_ok=True)
            if not self.is_local:
                self.fs.put_file(str(local_path), destination)
                local_path.unlink()
                return
            move_file(local_path, Path(destination), temporary_folder=self._temporary_folder)

    def remove(self, path: str) -> None:
        """Remove a file or a whole folder, if it is there."""
        if self.exists(path):
            with writing_to(self.url):
                self.fs.rm(self.full_path(path), recursive=True)

    @contextlib.contextmanager
    def staging(self) -> Iterator[Path]:
        """Lend an empty local folder for files on their way into the store; removed at the end.

        For a local store it lies on the same disk, so that publishing is a rename. Its name carries
        the process id, by which the folders that killed runs left behind are known.
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
        """Show other processes that results are being made; of a remote store nobody can tell."""
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
        """Remove what killed processes left behind; returns how many files and folders.

        Of other machines that share the store, whose processes cannot be asked, only what nobody
        touched for a week.
        """
        if not self.is_local:
            return 0
        return remove_abandoned(self._temporary_folder)

    def file_state(self, path: str) -> tuple[int, str] | None:
        """Give a stored file's size and content digest, or None if it is gone.

        A file is read once in a process unless its size, time of change or place on disk moved.
        """
        state = self._state(path)
        if state is None:
            return None
        seen, digest = _DIGESTS.get(self._location(path), (None, ""))
        if seen != state:
            with self.open(path) as stream:
                digest = digest_stream(stream)
            _DIGESTS[self._location(path)] = state, digest
        return state[0], digest

    def parsed(self, path: str, parse: Callable[[bytes], Parsed]) -> Parsed | None:
        """Read and parse a small file, or None if it is gone; once in a process unless changed."""
        state = self._state(path)
        if state is None:
            return None
        seen, parsed = _PARSED.get(self._location(path), (None, None))
        if seen != state:
            with self.open(path) as stream:
                parsed = parse(stream.read())
            _PARSED[self._location(path)] = state, parsed
        return cast(Parsed, parsed)

    def _location(self, path: str) -> _Place:
        return _protocols(self.fs)[0], self.root, path

    def _state(self, path: str) -> _State | None:
        """Say what a file's content is known by while nobody writes it; None if it is gone."""
        try:
            facts = self.fs.info(self.full_path(path))
        except FileNotFoundError:
            return None
        if facts["type"] != "file":
            return None
        seen = [facts.get(name) for name in ("mtime", "ino", "ETag", "created")]
        return int(facts["size"]), str(seen if any(seen) else uuid.uuid4())

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


def local_root(url: str) -> Path | None:
    """Say which local folder a store's URL names, opening nothing; None if it names none."""
    protocol, path = fsspec.core.split_protocol(url)
    return Path(path) if protocol in (None, "file", "local") else None


def _protocols(fs: Any) -> tuple[str, ...]:
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)
