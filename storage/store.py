"""The store: a folder or any fsspec URL that holds every result, and is the truth about them.

    <store>/<stage>/<variant>/variant.json      what makes this variant: stage, version, settings, upstream
    <store>/<stage>/<variant>/done/<part>.json  the marker of a finished part, written last
    <store>/<stage>/<variant>/<Table>/<part>.parquet
    <store>/<stage>/<variant>/files/...         media and weights
    <store>/.tmp/                               what is being written; nothing reads it

A part appears whole or not at all: files and tables are put in place by rename, then the marker.
"""

import contextlib
import errno
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import fsspec

from storage.errors import ConfigError, StoreError
from storage.fingerprint import digest_of, digest_stream

_TEMPORARY = ".tmp"


@contextlib.contextmanager
def writing_to(place: str) -> Iterator[None]:
    """Turn the operating system's refusals into one clear sentence."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreError(
                f"No space left while writing to {place!r}: free some space or name another place "
                "with --store; everything finished so far is kept."
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
            raise StoreError(
                f"Cannot write to {place!r} ({error.strerror}): name a folder you may write to "
                "with --store."
            ) from error
        raise


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
        self._digests: dict[tuple[str, int, Any], str] = {}
        with writing_to(self.url):
            self.fs.makedirs(f"{self.root}/{_TEMPORARY}", exist_ok=True)
            self._write_bytes_at(f"{_TEMPORARY}/probe-{uuid.uuid4().hex}", b"", keep=False)

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
        """List the files directly in a folder, sorted, relative to the root; empty if it is not there."""
        if not self.exists(path):
            return []
        self.fs.invalidate_cache()
        found = self.fs.ls(self.full_path(path), detail=True)
        names = (Path(row["name"]).name for row in found if row["type"] == "file")
        return sorted(f"{path}/{name}" for name in names)

    def write_bytes(self, path: str, content: bytes) -> None:
        """Write a file so that it appears whole or not at all."""
        with writing_to(self.url):
            self._write_bytes_at(path, content, keep=True)

    def publish(self, local_path: Path, path: str) -> None:
        """Move a finished local file into the store in one step; the local file is gone after."""
        with writing_to(self.url):
            destination = self.full_path(path)
            self.fs.makedirs(destination.rsplit("/", 1)[0], exist_ok=True)
            if not self.is_local:
                self.fs.put_file(str(local_path), destination)
                local_path.unlink()
                return
            with local_path.open("rb") as stream:
                os.fsync(stream.fileno())
            try:
                local_path.replace(destination)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                self._copy_then_rename(local_path, destination)

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
        if self.is_local:
            parent = Path(self.full_path(_TEMPORARY))
        else:
            import tempfile

            parent = Path(tempfile.gettempdir())
        folder = parent / f"{os.getpid()}-{uuid.uuid4().hex[:12]}"
        with writing_to(self.url):
            folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def sweep(self) -> int:
        """Remove the staging folders of processes that no longer live; returns how many."""
        if not self.is_local:
            return 0
        removed = 0
        for folder in Path(self.full_path(_TEMPORARY)).iterdir():
            process_id = folder.name.split("-")[0]
            if process_id.isdigit() and not _is_alive(int(process_id)):
                shutil.rmtree(folder, ignore_errors=True)
                removed += 1
        return removed

    def file_state(self, path: str) -> tuple[int, str] | None:
        """Give a stored file's size and content digest, or None if it is gone.

        A file is read once in a process unless its size or time of change moved.
        """
        try:
            facts = self.fs.info(self.full_path(path))
        except FileNotFoundError:
            return None
        changed = facts.get("mtime") or facts.get("ETag") or facts.get("created")
        key = (path, int(facts["size"]), str(changed))
        if key not in self._digests:
            with self.open(path) as stream:
                self._digests[key] = digest_stream(stream)
        return key[1], self._digests[key]

    def variant(
        self, stage: str, *, version: int, settings: Mapping[str, Any], upstream: Sequence[str] = ()
    ) -> "Variant":
        """Open the variant of a stage that these settings and upstream variants make."""
        from storage.variant import Variant

        identity = {
            "stage": stage, "version": version, "settings": dict(settings), "upstream": list(upstream)
        }
        variant = Variant(store=self, stage=stage, variant_id=digest_of(identity)[:12])
        if not self.exists(variant.identity_path):
            text = json.dumps(identity, indent=2, sort_keys=True, ensure_ascii=False)
            self.write_bytes(variant.identity_path, text.encode())
        return variant

    def _write_bytes_at(self, path: str, content: bytes, *, keep: bool) -> None:
        destination = self.full_path(path)
        self.fs.makedirs(destination.rsplit("/", 1)[0], exist_ok=True)
        if self.is_local:
            temporary = self.full_path(f"{_TEMPORARY}/{os.getpid()}-{uuid.uuid4().hex}")
            with Path(temporary).open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            Path(temporary).replace(destination)
        else:
            self.fs.pipe_file(destination, content)
        if not keep:
            self.fs.rm(destination)

    def _copy_then_rename(self, local_path: Path, destination: str) -> None:
        temporary = Path(self.full_path(f"{_TEMPORARY}/{os.getpid()}-{uuid.uuid4().hex}"))
        shutil.copyfile(local_path, temporary)
        temporary.replace(destination)
        local_path.unlink()


def _protocols(fs: Any) -> tuple[str, ...]:
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)


def _is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
