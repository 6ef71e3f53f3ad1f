"""A cache of parsed annotation files, which are large, in the store.

    <store>/.cache/annotation/<digest of file and reader>-<digest of this file>.parquet

The cache names videos and quotes annotators, so erasing a participant removes it. Damaged files are
ignored.
"""

import contextlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pyarrow as pa

from storage.datasets.bah.annotation import Annotation, read_annotation
from storage.datasets.bah.yaml_files import parse_yaml, read_text
from storage.datasets.erased import read_erased
from storage.errors import StoreError
from storage.fingerprint import digest_bytes, digest_of
from storage.schema import from_table, read_parquet, to_table, write_parquet
from storage.store.store import CACHE_FOLDER, Store
from storage.store.url import is_missing

READER_VERSION = 5  # raise it when the same file is read differently
_MAX_FILES = 4
_DIGITS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatedVideo:
    """One row of the cache: a video's name in the annotation file, and its annotation."""

    name: str
    annotation: Annotation


@dataclass(frozen=True)
class AnnotationCache:
    """The annotation cache of one store, without erased participants."""

    store_url: str
    read_only: bool = False

    def read(self, digest: str) -> dict[str, Annotation] | None:
        """Return the annotations of the file with this digest; ``None`` if they are not cached."""
        if is_missing(f"{self.store_url}/{annotation_folder()}"):
            return None
        store = Store(self.store_url, read_only=True)
        for path in _cached(store, digest):
            with contextlib.suppress(StoreError, OSError, pa.ArrowInvalid):
                return _read_whole(store, path)
        return None

    def write(self, digest: str, annotations: Mapping[str, Annotation]) -> None:
        """Cache a file's annotations, except of erased participants, and remove old files."""
        if self.read_only:
            return
        store = Store(self.store_url)
        erased = read_erased(store)
        rows = (
            AnnotatedVideo(name=name, annotation=annotation)
            for name, annotation in annotations.items()
            if not erased.in_path(name)
        )
        sink = io.BytesIO()
        write_parquet(to_table(AnnotatedVideo, rows), sink)
        content = sink.getvalue()
        damaged = _cached(store, digest)
        path = f"{annotation_folder()}/{_key(digest)}-{_own(content)}.parquet"
        store.write_bytes(path, content)
        old = sorted(store.list_files(annotation_folder()), key=lambda p: _age(store, p, path))
        for obsolete in {*damaged, *old[_MAX_FILES:]} - {path}:
            store.remove(obsolete)


def annotation_folder() -> str:
    """Return the cache's folder, relative to the store's root."""
    return f"{CACHE_FOLDER}/annotation"


def read_annotation_file(path: Path, cache: AnnotationCache | None = None) -> dict[str, Annotation]:
    """Read a release's annotations by video name, from the cache if possible.

    Raises:
        DataError: the file cannot be read, is not valid YAML, or contains a forbidden tag.
    """
    content = read_text(path)
    digest = digest_bytes(content)
    annotations = None if cache is None else cache.read(digest)
    if annotations is None:
        parsed = parse_yaml(path.name, content)
        annotations = {name: read_annotation(entry) for name, entry in parsed.items()}
        if cache is not None:
            cache.write(digest, annotations)
    return annotations


def _cached(store: Store, digest: str) -> list[str]:
    files = store.list_files(annotation_folder())
    return [path for path in files if PurePosixPath(path).name.startswith(f"{_key(digest)}-")]


def _read_whole(store: Store, path: str) -> dict[str, Annotation]:
    """Read one file of the cache.

    Raises:
        StoreError: its content does not match its name, or was written by another version.
    """
    with store.open(path) as stream:
        content = stream.read()
    if not path.endswith(f"-{_own(content)}.parquet"):
        raise StoreError(f"The cache file {path!r} is damaged: it is written again.")
    rows = from_table(AnnotatedVideo, read_parquet(io.BytesIO(content)))
    return {row.name: row.annotation for row in rows}


def _key(digest: str) -> str:
    return digest_of(digest, READER_VERSION)[:_DIGITS]


def _own(content: bytes) -> str:
    return digest_bytes(content)[:_DIGITS]


def _age(store: Store, path: str, newest: str) -> tuple[bool, float]:
    """Return a sort key: the file just written, then the newest."""
    with contextlib.suppress(OSError, NotImplementedError):
        return path != newest, -store.fs.modified(store.full_path(path)).timestamp()
    return True, 0.0
