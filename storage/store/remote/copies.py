"""Copies of the small objects of parts, grouped, so that reading a part costs one request.

    <store>/.cache/parts/<stage>/<variant>/<part>.parquet   the part's marker and its tables

A marker's copy counts while the listing shows the same identity, a table's while it has the size
and digest that the marker states. A copy is written when a part is first read, can be written again
at any time, and is removed with the cache when a participant is erased.
"""

import contextlib
import io
import threading
from collections import OrderedDict
from collections.abc import Mapping

import pyarrow as pa

from storage.errors import StoreError
from storage.fingerprint import digest_bytes
from storage.schema import read_parquet, write_parquet
from storage.store.file_identity import Identity
from storage.store.remote.files import RemoteFiles

FOLDER = ".cache/parts"
_HELD_BYTES = 256 << 20  # in memory, for the several times that a run reads the same rows
_SCHEMA = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        pa.field("identity", pa.string(), nullable=False),
        pa.field("content", pa.binary(), nullable=False),
    ]
)
_Copy = dict[str, tuple[str, bytes]]  # identity and content by path


class PartCopies:
    """The copies of one store; safe to use from several threads.

    If ``read_only``, none is written.
    """

    def __init__(self, files: RemoteFiles, *, read_only: bool = False) -> None:
        self._files = files
        self._read_only = read_only
        self._lock = threading.Lock()
        self._stored: dict[str, set[str]] = {}
        self._held: OrderedDict[str, _Copy] = OrderedDict()
        self._markers: dict[str, _Copy] = {}

    def read_marker(self, path: str, identity: Identity) -> bytes:
        """Read a part's marker, which a listing has just shown with this identity.

        Raises:
            FileNotFoundError: it was removed since.
        """
        variant_path, _, name = path.rpartition("/done/")
        part_path = f"{variant_path}/{name.removesuffix('.json')}"
        copied, content = self._copy_of(part_path).get(path, ("", b""))
        if copied != identity.text:
            content = self._files.read(path)
            marker = self._markers[part_path] = {path: (identity.text, content)}
            if copy := self._copy_of(part_path):  # of tables, made by the run that wrote the part
                self._save(part_path, copy | marker)
        return content

    def read_table(self, part_path: str, path: str, states: Mapping[str, tuple[int, str]]) -> bytes:
        """Read a table of a part, ``<stage>/<variant>/<part>``, whose tables have these states.

        Raises:
            FileNotFoundError: a table was removed.
        """
        _, content = self._copy_of(part_path).get(path, ("", b""))
        if _state_of(content) == tuple(states[path]):
            return content
        contents = {of_part: self._files.read(of_part) for of_part in states}
        if all(_state_of(contents[p]) == tuple(state) for p, state in states.items()):
            tables = {p: ("", content) for p, content in contents.items()}
            self._save(part_path, tables | self._markers.pop(part_path, {}))
        return contents[path]

    def _copy_of(self, part_path: str) -> _Copy:
        with self._lock:
            if (held := self._held.get(part_path)) is not None:
                self._held.move_to_end(part_path)
                return held
            variant_path = part_path.rpartition("/")[0]
            if variant_path not in self._stored:
                self._stored[variant_path] = set(self._files.list_tree(f"{FOLDER}/{variant_path}"))
            if _path_of(part_path) not in self._stored[variant_path]:
                return {}
        copy: _Copy = {}
        with contextlib.suppress(FileNotFoundError, pa.ArrowException, KeyError):
            copy = _decode(self._files.read(_path_of(part_path)))
        self._hold(part_path, copy)
        return copy

    def _save(self, part_path: str, copy: _Copy) -> None:
        self._hold(part_path, copy)
        if self._read_only:
            return
        with contextlib.suppress(StoreError):  # without a copy the next run reads each table
            self._files.write(_path_of(part_path), _encode(copy))
            with self._lock:
                self._stored.setdefault(part_path.rpartition("/")[0], set()).add(
                    _path_of(part_path)
                )

    def _hold(self, part_path: str, copy: _Copy) -> None:
        with self._lock:
            self._held[part_path] = copy
            self._held.move_to_end(part_path)
            size = sum(map(_size_of, self._held.values()))
            while size > _HELD_BYTES and len(self._held) > 1:
                size -= _size_of(self._held.popitem(last=False)[1])


def _path_of(part_path: str) -> str:
    return f"{FOLDER}/{part_path}.parquet"


def _state_of(content: bytes) -> tuple[int, str]:
    return len(content), digest_bytes(content)


def _size_of(copy: _Copy) -> int:
    return sum(len(content) for _, content in copy.values())


def _encode(copy: _Copy) -> bytes:
    rows = [(path, *of_path) for path, of_path in copy.items()]
    columns = [
        pa.array(column, field.type)
        for column, field in zip(zip(*rows, strict=True), _SCHEMA, strict=True)
    ]
    sink = io.BytesIO()
    write_parquet(pa.Table.from_arrays(columns, schema=_SCHEMA), sink)
    return sink.getvalue()


def _decode(content: bytes) -> _Copy:
    table = read_parquet(pa.BufferReader(content))
    columns = [table[name].to_pylist() for name in _SCHEMA.names]
    return {path: (identity, copied) for path, identity, copied in zip(*columns, strict=True)}
