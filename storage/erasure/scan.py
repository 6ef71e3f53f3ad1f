"""Search a whole store for one participant: all file names, tables and text files."""

import contextlib
import csv
import html
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq

from storage.erasure.traces import Traces, holds_strings
from storage.store.remote.errors import errors_of
from storage.store.store import Store

_TEXTS = frozenset(
    {".csv", ".htm", ".html", ".json", ".jsonl", ".log", ".md", ".toml", ".txt", ".yaml", ".yml"}
)
_TABLE = ".parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """Paths that still name the participant (``found``), unreadable tables, and counts."""

    num_names: int
    num_tables: int
    num_texts: int
    found: tuple[str, ...]
    unread: tuple[str, ...]

    @property
    def is_clean(self) -> bool:
        """True if no file names the participant and every table could be read."""
        return not self.found and not self.unread


def scan_store(store: Store, traces: Traces) -> Scan:
    """Search every file of a store; media and weights by their name only."""
    paths = stored_paths(store)
    texts = [path for path, is_file in paths.items() if is_file and is_text(path)]
    tables = [path for path, is_file in paths.items() if is_file and is_table(path)]
    found = {path for path in paths if traces.in_name(path)}
    found |= {path for path in texts if text_names(store, path, traces)}
    unread = []
    for path in tables:
        table = read_strings(store, path)
        if table is None:
            unread.append(path)
        elif traces.in_table(table):
            found.add(path)
    return Scan(
        num_names=len(paths),
        num_tables=len(tables),
        num_texts=len(texts),
        found=tuple(sorted(found)),
        unread=tuple(unread),
    )


def stored_paths(store: Store, below: str = "") -> Mapping[str, bool]:
    """Map the paths of all files and folders, relative to the root, to whether they are files."""
    store.fs.invalidate_cache()
    root = store.full_path(below).rstrip("/")
    with errors_of(store):
        found = store.fs.find(root, withdirs=True, detail=True)
    prefix = f"{below}/" if below else ""
    return {
        prefix + name.removeprefix(root).lstrip("/"): facts["type"] == "file"
        for name, facts in sorted(found.items())
        if name.rstrip("/") != root
    }


def is_text(path: str) -> bool:
    """Return whether a file's suffix is that of a text file."""
    return PurePosixPath(path).suffix.lower() in _TEXTS


def is_table(path: str) -> bool:
    """Return whether a file's suffix is that of a Parquet table."""
    return PurePosixPath(path).suffix.lower() == _TABLE


def text_names(store: Store, path: str, traces: Traces) -> bool:
    """Return whether a text file names the participant, in its text or in its parsed content.

    In model files, whose vocabularies contain all kinds of numbers, only video names count.
    """
    with store.open(path) as stream:
        text = stream.read().decode(errors="replace")
    suffix = PurePosixPath(path).suffix.lower()
    if "/files/" in path and suffix in (".json", ".txt"):
        return traces.in_transcript(text)
    if traces.in_text(html.unescape(text)):
        return True
    if suffix == ".json":
        with contextlib.suppress(ValueError):
            return traces.in_row(json.loads(text))
    if suffix == ".csv":
        with contextlib.suppress(csv.Error):
            return any(traces.in_row(row) for row in csv.DictReader(io.StringIO(text), restval=""))
    return False


def read_strings(store: Store, path: str) -> pa.Table | None:
    """Read a table's string columns; returns ``None`` if it is unreadable."""
    with store.open(path) as stream:
        content = stream.read()
    try:
        with pq.ParquetFile(pa.BufferReader(content)) as file:
            columns = [field.name for field in file.schema_arrow if holds_strings(field.type)]
            return file.read(columns=columns, use_threads=False)
    except (pa.ArrowException, OSError):
        return None
