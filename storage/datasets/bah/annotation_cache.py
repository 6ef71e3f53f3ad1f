"""A release's large annotation file, parsed once and kept in the store by its content.

    <store>/.cache/annotation/<file's content and reader>-<own content>.parquet

What lies in the cache can always be made again, and it names videos and quotes annotators: whoever
forgets a participant removes the whole folder (`remove_cache`). A damaged file is as good as none.
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
from storage.store.cache import CACHE_FOLDER
from storage.store.store import Store, is_missing

READER_VERSION = 3  # moves whenever the same file would be read as something else
_NUM_KEPT = 4
_DIGITS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatedVideo:
    """One row of the cache: a video's name in the annotation, and what is said about it."""

    name: str
    annotation: Annotation


@dataclass(frozen=True)
class AnnotationCache:
    """The annotations kept in one store; participants whom it has forgotten may be missing."""

    store_url: str

    def read(self, digest: str) -> dict[str, Annotation] | None:
        """Give what a file of this content was parsed to, or None if that is not known."""
        if is_missing(f"{self.store_url}/{annotation_folder()}"):
            return None
        store = Store(self.store_url)
        for path in _kept(store, digest):
            with contextlib.suppress(StoreError, OSError, pa.ArrowInvalid):
                return _read_whole(store, path)
        return None

    def write(self, digest: str, annotations: Mapping[str, Annotation]) -> None:
        """Keep a file's annotations; older files go, but for the last few.

        Of participants whom the store has erased nothing is kept: no run uses their videos.
        """
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
        damaged = _kept(store, digest)
        path = f"{annotation_folder()}/{_key(digest)}-{_own(content)}.parquet"
        store.write_bytes(path, content)
        old = sorted(store.list_files(annotation_folder()), key=lambda p: _age(store, p, path))
        for left in {*damaged, *old[_NUM_KEPT:]} - {path}:
            store.remove(left)


def annotation_folder() -> str:
    """Name the folder of a store that holds parsed annotations."""
    return f"{CACHE_FOLDER}/annotation"


def read_annotation_file(path: Path, cache: AnnotationCache | None = None) -> dict[str, Annotation]:
    """Read a release's annotation by video name; parses nothing that the cache knows.

    Raises:
        DataError: the file cannot be read, or holds what a data file must not hold.
    """
    content = read_text(path)
    digest = digest_bytes(content)
    kept = None if cache is None else cache.read(digest)
    if kept is None:
        parsed = parse_yaml(path.name, content)
        kept = {name: read_annotation(record) for name, record in parsed.items()}
        if cache is not None:
            cache.write(digest, kept)
    return kept


def _kept(store: Store, digest: str) -> list[str]:
    files = store.list_files(annotation_folder())
    return [path for path in files if PurePosixPath(path).name.startswith(f"{_key(digest)}-")]


def _read_whole(store: Store, path: str) -> dict[str, Annotation]:
    """Read one file of the cache.

    Raises:
        StoreError: its content is not what its name says, or not what this version writes.
    """
    with store.open(path) as stream:
        content = stream.read()
    if not path.endswith(f"-{_own(content)}.parquet"):
        raise StoreError(f"The cache file {path!r} is damaged: it is made again.")
    rows = from_table(AnnotatedVideo, read_parquet(io.BytesIO(content)))
    return {row.name: row.annotation for row in rows}


def _key(digest: str) -> str:
    return digest_of(digest, READER_VERSION)[:_DIGITS]


def _own(content: bytes) -> str:
    return digest_bytes(content)[:_DIGITS]


def _age(store: Store, path: str, newest: str) -> tuple[bool, float]:
    """Sort by time of change, the newest first, and what was just written before all."""
    with contextlib.suppress(OSError, NotImplementedError):
        return path != newest, -store.fs.modified(store.full_path(path)).timestamp()
    return True, 0.0
