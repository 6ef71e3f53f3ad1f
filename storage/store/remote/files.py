"""The files of a remote store, through fsspec, with as few requests as possible.

Nothing is trusted that fsspec remembers of earlier listings: every listing, and every look at an
object, is a request. A written object appears whole or not at all, also one of several parts. On
S3 its ETag comes with the answer to the upload, so that nothing has to be read back.
"""

import contextlib
import io
import mimetypes
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import fsspec

from storage.errors import ConfigError, ToolError
from storage.fingerprint import digest_stream
from storage.store.file_identity import Identity, identity_of_object
from storage.store.remote.errors import is_conflict, remote_errors

_S3 = frozenset({"s3", "s3a"})
_WITHOUT_FOLDERS = _S3 | {"gs", "gcs", "abfs", "abfss", "az"}  # one listing finds a whole prefix
_EXTRAS = {"s3": "'waver[s3]'", "s3a": "'waver[s3]'", "gs": "gcsfs", "gcs": "gcsfs",
           "abfs": "adlfs", "abfss": "adlfs", "az": "adlfs"}  # fmt: skip
NUM_THREADS = 16  # requests at once; each waits for the network, not for a core
_IN_MEMORY_BYTES = 64 << 20  # larger objects are streamed
# s3fs repeats what botocore gives up on, five times: with botocore's own default of five attempts
# a wrong endpoint would be noticed after minutes.
_CONFLICT_SECONDS, _POLL_SECONDS = 30.0, 0.2
_RETRIES = {"mode": "standard", "total_max_attempts": 3}

_writable: set[str] = set()  # URLs that this process has written to


class RemoteFiles:
    """Files by path relative to the root of a URL; safe to use in threads and after a fork.

    All methods raise `StoreError` if the store cannot be reached or used.

    Raises:
        ConfigError: the URL names an unknown protocol.
        ToolError: the library for its protocol is not installed.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._protocol = fsspec.core.split_protocol(url)[0]
        self._is_s3 = self._protocol in _S3
        self.has_folders = self._protocol not in _WITHOUT_FOLDERS
        self._process_id = 0
        self._fs: Any = None
        self.root: str = ""
        self._open()

    @property
    def fs(self) -> Any:
        """The fsspec file system; a forked process opens its own, as its threads are gone."""
        if self._process_id != os.getpid():
            self._open()
        return self._fs

    def _open(self) -> None:
        options: dict[str, Any] = {"use_listings_cache": False}
        if self._is_s3:
            configured = fsspec.config.conf.get("s3", {}).get("config_kwargs", {})
            options["config_kwargs"] = {"retries": _RETRIES, **configured}
        try:
            self._fs, self.root = fsspec.core.url_to_fs(self._url, **options)
        except ImportError as error:
            extra = _EXTRAS.get(str(self._protocol), "the library that fsspec names")
            raise ToolError(
                f"The store {self._url!r} needs a library that is not installed: pip install "
                f"{extra}."
            ) from error
        except ValueError as error:
            raise ConfigError(
                f"The store {self._url!r} cannot be opened ({error}): name a folder or an fsspec "
                "URL."
            ) from error
        self._process_id = os.getpid()

    def full_path(self, path: str) -> str:
        """Return a path for `fs`."""
        return f"{self.root}/{path}"

    def check_writable(self, path: str) -> None:
        """Write and remove an object, with a single attempt, so that a mistake shows in seconds.

        Once per process and URL: several parts of a run open its store.
        """
        if self._url in _writable:
            return
        with self._single_attempt():
            self.write(path, b"")
            self._remove_object(path)
        _writable.add(self._url)

    def read(self, path: str) -> bytes:
        """Read a whole object, with one request.

        Raises:
            FileNotFoundError: there is none.
        """
        # s3fs requests the size first, to read large objects in pieces at once.
        options = {"max_concurrency": 1} if self._is_s3 else {}
        with remote_errors(self._url):
            content: bytes = self.fs.cat_file(self.full_path(path), **options)
            return content

    def open(self, path: str) -> BinaryIO:
        """Open an object that fits into memory, as a file."""
        return io.BytesIO(self.read(path))

    def state(self, path: str, expected_size: int | None = None) -> tuple[int, str]:
        """Read an object; returns its size in bytes and content digest.

        One that is expected to be small is read with one request.

        Raises:
            FileNotFoundError: there is none.
        """
        if expected_size is not None and expected_size <= _IN_MEMORY_BYTES:
            content = self.read(path)
            return len(content), digest_stream(io.BytesIO(content))
        with remote_errors(self._url), self.fs.open(self.full_path(path), "rb") as stream:
            return int(stream.size), digest_stream(stream)

    def exists(self, path: str) -> bool:
        """Return whether an object, or any below this prefix, exists."""
        with remote_errors(self._url):
            self.fs.invalidate_cache()
            return bool(self.fs.exists(self.full_path(path)))

    def identity(self, path: str) -> Identity:
        """Return what changes whenever an object's content does.

        Raises:
            FileNotFoundError: there is none.
        """
        with remote_errors(self._url):
            self.fs.invalidate_cache()
            return identity_of_object(self.fs.info(self.full_path(path)))

    def list_tree(self, path: str) -> dict[str, Identity]:
        """Map all objects below a prefix to their identities; one request per 1,000 objects."""
        above, _, name = path.rpartition("/")
        with remote_errors(self._url):
            self.fs.invalidate_cache()
            if path and not self.has_folders:
                folder = self.full_path(above).rstrip("/")
                found = self.fs.find(folder, prefix=f"{name}/", detail=True)
            else:
                found = self.fs.find(self.full_path(path).rstrip("/"), detail=True)
        start = f"{self.root}/"
        return {
            full_path.removeprefix(start): identity_of_object(facts)
            for full_path, facts in sorted(found.items())
            if facts["type"] == "file" and not full_path.endswith("/")
        }

    def write(self, path: str, content: bytes) -> Identity | None:
        """Write an object; returns its identity, if the store reports it."""
        with remote_errors(self._url):
            self._make_parents(path)
            report = self.fs.pipe_file(self.full_path(path), content)
        return self._written(report, len(content))

    def create(self, path: str, content: bytes) -> bool:
        """Write an object unless there is one; returns whether it is there with this content.

        The content names the writer, so that a repeated request recognizes its own object. S3
        answers 409 to a request that meets another one on the same object: it decides nothing.
        """
        deadline = time.monotonic() + _CONFLICT_SECONDS
        with remote_errors(self._url):
            self._make_parents(path)
            while True:
                try:
                    self.fs.pipe_file(self.full_path(path), content, mode="create")
                except FileExistsError:
                    return self.read(path) == content
                except OSError as error:
                    if not is_conflict(error) or time.monotonic() > deadline:
                        raise
                    time.sleep(_POLL_SECONDS)
                else:
                    return True

    def publish(self, local_path: Path, path: str) -> Identity | None:
        """Move a local file into the store; returns the object's identity, if it is reported."""
        size, report = local_path.stat().st_size, None
        with remote_errors(self._url):
            self._make_parents(path)
            if self._is_s3 and size <= _IN_MEMORY_BYTES:
                media_type = mimetypes.guess_type(path)[0]
                options = {"ContentType": media_type} if media_type else {}
                content = local_path.read_bytes()
                report = self.fs.pipe_file(self.full_path(path), content, **options)
            else:
                self.fs.put_file(str(local_path), self.full_path(path))
        local_path.unlink()
        return self._written(report, size)

    def download(self, path: str, local_path: Path) -> None:
        """Copy an object to a local file."""
        with remote_errors(self._url):
            self.fs.get_file(self.full_path(path), str(local_path))

    def remove(self, path: str) -> None:
        """Remove an object, and all below this prefix."""
        if self.has_folders:
            if self.exists(path):
                with remote_errors(self._url):
                    self.fs.rm(self.full_path(path), recursive=True)
            return
        if below := list(self.list_tree(path)):
            with remote_errors(self._url):
                self.fs.rm([self.full_path(found) for found in below])
        self._remove_object(path)

    def remove_objects(self, paths: Sequence[str]) -> None:
        """Remove objects, if they exist; on S3 a request removes up to 1,000 of them."""
        if self._is_s3:
            with remote_errors(self._url):
                self.fs.rm([self.full_path(path) for path in paths])
            return
        for path in paths:
            self.remove(path)

    def _remove_object(self, path: str) -> None:
        with remote_errors(self._url), contextlib.suppress(FileNotFoundError):
            self.fs.rm_file(self.full_path(path))

    def _make_parents(self, path: str) -> None:
        """Create folders where there are any: s3fs would create a bucket that does not exist."""
        if self.has_folders:
            self.fs.makedirs(self.full_path(path).rsplit("/", 1)[0], exist_ok=True)

    def _written(self, report: Any, size: int) -> Identity | None:
        if not isinstance(report, dict) or not report.get("ETag"):
            return None
        facts = {"type": "file", "name": "", "size": size, "ETag": report["ETag"]}
        return identity_of_object(facts)

    @contextlib.contextmanager
    def _single_attempt(self) -> Iterator[None]:
        """Have s3fs repeat nothing; botocore's own attempts remain."""
        fs = self.fs
        if not self._is_s3:
            yield
            return
        fs.retries = 1
        try:
            yield
        finally:
            with contextlib.suppress(AttributeError):  # two threads opened the store at once
                del fs.retries
