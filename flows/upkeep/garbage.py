"""Groups of a store's files that nothing needs, and their removal in an order that is always right.

A marker is removed before the tables and files that it lists, and a variant's `variant.json` last:
killed at any moment, the store holds whole results, and files that the next call finds again.
"""

import contextlib
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

from storage.store.intact import PartCheck
from storage.store.part import (
    Part,
    marker_path,
    parse_tombstone,
    read_marker,
    read_parts,
    read_tombstones,
    table_path,
    tombstone_folder,
)
from storage.store.remote.errors import errors_of
from storage.store.store import Store

Group = Literal[
    "variants", "superseded parts", "unlisted files", "logs", "checkpoints", "journal",
    "temporaries",
]  # fmt: skip
ROOTS = {"aggregate": "a report", "finetune": "a trained model"}  # by stage: what stays
SETTLED_SECONDS = 24 * 3600.0  # a younger file may belong to a part that is being written


@dataclass(frozen=True, slots=True, kw_only=True)
class Garbage:
    """Something that can be removed: its paths in the order of removal.

    Attributes:
        name: What it is, for the reader.
        paths: Files and folders relative to the store's root.
    """

    group: Group
    name: str
    num_bytes: int
    num_files: int
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A file of the store; ``modified_at`` in seconds since 1970, 0 if the store has no times."""

    num_bytes: int
    modified_at: float


def files_below(store: Store, path: str) -> dict[str, StoredFile]:
    """Map all files below a folder, relative to the store's root, to their sizes and times."""
    store.fs.invalidate_cache()
    prefix = store.full_path("")
    try:
        with errors_of(store):
            found: Mapping[str, Any] = store.fs.find(store.full_path(path), detail=True)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    return {
        name.removeprefix(prefix).lstrip("/"): StoredFile(
            num_bytes=int(facts["size"] or 0), modified_at=_modified_at(facts)
        )
        for name, facts in found.items()
        if facts["type"] != "directory"
    }


def _modified_at(facts: Mapping[str, Any]) -> float:
    for name in ("mtime", "LastModified", "last_modified", "updated", "created"):
        stamp = facts.get(name)
        if stamp is not None:
            return float(stamp.timestamp() if hasattr(stamp, "timestamp") else stamp)
    return 0.0


def whole_variant(store: Store, path: str) -> Garbage:
    """Return a whole variant: markers, then everything else, its identity last."""
    files = files_below(store, path)
    markers = [name for name in files if name.startswith(f"{path}/done/")]
    identity = f"{path}/variant.json"
    rest = [name for name in files if name not in {*markers, identity}]
    return Garbage(
        group="variants",
        name=path,
        num_bytes=sum(file.num_bytes for file in files.values()),
        num_files=len(files),
        paths=(*markers, *rest, identity, path),
    )


def in_variant(store: Store, path: str, keep_seconds: float) -> Iterator[Garbage]:
    """Yield what can be removed from a variant that is needed."""
    files = files_below(store, path)  # before the markers: a file of a later part is young
    parts = list(read_parts(store, path))
    superseded = superseded_parts(store, path, parts)
    removed = {part.part_id for part in superseded}
    kept = [part for part in parts if part.part_id not in removed]
    listed = {name for part in kept for of_item in part.files.values() for name in of_item}
    for part in superseded:
        yield _part(path, part, listed)
    yield from _unlisted(store, path, parts, files)
    yield from _old(path, "logs", "logs", files, keep_seconds)
    yield from _old(path, "work", "checkpoints", files, keep_seconds)
    young = {name for name, file in files.items() if not _is_settled(file, keep_seconds)}
    tombstones = _obsolete_tombstones(store, path, {part.part_id for part in kept})
    names = [name for name in tombstones if name not in young]  # a retry of a run reads its own
    yield from _group("superseded parts", f"{path}: tombstones of removed parts", files, names)


def superseded_parts(store: Store, path: str, parts: Sequence[Part]) -> list[Part]:
    """Return the parts of which every item, also an invalidated one, is in a newer intact part.

    An item with another digest does not supersede: other data may need both. Nothing supersedes a
    report or a model: predictions of the former model may be needed, and a forced run may fail.
    """
    if path.partition("/")[0] in ROOTS:
        return []
    tombstones = read_tombstones(store, path)
    newest: dict[tuple[str, str], Part] = {}
    for part in sorted(parts, key=lambda part: (part.created_ns, part.part_id)):
        for item in part.items.items():
            if (part.part_id, item[0]) not in tombstones:
                newest[item] = part

    def is_superseded(part: Part) -> bool:
        return all(newest.get(item, part) is not part for item in part.items.items())

    found = [part for part in parts if is_superseded(part)]
    needed = {id(newest[item]): newest[item] for part in found for item in part.items.items()}
    damaged = PartCheck(store, path).damaged_items(needed.values()) if needed else {}
    return [
        part
        for part in found
        if not any(item[0] in damaged[newest[item].part_id] for item in part.items.items())
    ]


def _part(path: str, part: Part, listed: Collection[str]) -> Garbage:
    """Return a part: its marker, its tables, and its files that are not listed by other parts."""
    own = {
        name: size
        for files in part.files.values()
        for name, (size, _) in files.items()
        if name not in listed
    }
    tables = {table_path(path, part.part_id, name): size for name, (size, _) in part.tables.items()}
    return Garbage(
        group="superseded parts",
        name=f"{path}: part {part.part_id}",
        num_bytes=sum(own.values()) + sum(tables.values()),
        num_files=1 + len(own) + len(tables),
        paths=(marker_path(path, part.part_id), *tables, *own),
    )


def _unlisted(
    store: Store, path: str, parts: Sequence[Part], files: Mapping[str, StoredFile]
) -> Iterator[Garbage]:
    """Yield settled media, tables and markers that no intact marker lists."""
    listed = {name for part in parts for of_item in part.files.values() for name in of_item}
    listed |= {table_path(path, part.part_id, name) for part in parts for name in part.tables}
    found = store.list_identities(f"{path}/done")
    damaged = {name for name, known in found.items() if read_marker(store, name, known) is None}
    names = [
        name
        for name, file in files.items()
        if name not in listed and _is_settled(file) and (name in damaged or _is_result(path, name))
    ]
    names.sort(key=lambda name: name not in damaged)
    yield from _group("unlisted files", f"{path}: files that no part lists", files, names)


def _is_result(path: str, name: str) -> bool:
    """Return whether a file of a variant is a stored file or a table."""
    folder = name.removeprefix(f"{path}/").partition("/")[0]
    return folder == "files" or (folder[:1].isupper() and name.endswith(".parquet"))


def _is_settled(file: StoredFile, seconds: float = SETTLED_SECONDS) -> bool:
    return 0 < file.modified_at < time.time() - seconds


def _old(
    path: str, folder: str, group: Group, files: Mapping[str, StoredFile], seconds: float
) -> Iterator[Garbage]:
    """Yield a folder's files, if none of them was written lately."""
    own = {name: file for name, file in files.items() if name.startswith(f"{path}/{folder}/")}
    if group == "checkpoints" and not all(_is_settled(file, seconds) for file in own.values()):
        return
    names = [name for name, file in own.items() if _is_settled(file, seconds)]
    yield from _group(group, f"{path}/{folder}", files, names)


def _obsolete_tombstones(store: Store, path: str, part_ids: set[str]) -> list[str]:
    """List tombstones of no part that stays: of removed ones, or of a run that found none."""
    return [
        name
        for name, known in store.list_identities(tombstone_folder(path)).items()
        if not any(
            part_id in part_ids for part_id, _ in store.parsed(name, parse_tombstone, known) or ()
        )
    ]


def _group(
    group: Group, name: str, files: Mapping[str, StoredFile], names: Sequence[str]
) -> Iterator[Garbage]:
    if names:
        sizes = (files[path].num_bytes for path in names if path in files)
        yield Garbage(
            group=group, name=name, num_bytes=sum(sizes), num_files=len(names), paths=tuple(names)
        )


def remove(store: Store, garbage: Garbage) -> None:
    """Remove files in their order, and folders that are empty then.

    Raises:
        StoreError: the store cannot be written.
    """
    if store.remote:
        store.check_writable()
        # Objects of one kind may go in any order, so in few requests.
        for _, paths in groupby(garbage.paths, _kind):
            store.remote.remove_objects(list(paths))
        if not store.remote.has_folders:
            return
    else:
        for path in garbage.paths:
            store.remove(path)
    folders = {path.rpartition("/")[0] for path in garbage.paths}
    for folder in sorted(folders, key=len, reverse=True):
        _remove_while_empty(store, folder)


def _kind(path: str) -> str:
    """Return the step of the removal that a file belongs to."""
    if "/done/" in path:
        return "marker"
    return "identity" if path.endswith("/variant.json") else "content"


def _remove_while_empty(store: Store, folder: str) -> None:
    """Remove an empty folder and its empty parents, up to the stage's."""
    while folder.count("/") > 1:
        with contextlib.suppress(OSError):
            store.fs.invalidate_cache()
            if store.fs.ls(store.full_path(folder)):
                return
            store.fs.rmdir(store.full_path(folder))
        folder = folder.rpartition("/")[0]
