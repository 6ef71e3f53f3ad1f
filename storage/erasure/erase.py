"""Remove one participant from all variants of all stages of a store.

A part holds many videos and never changes: what is left of it becomes a new part, and only when
that one counts do the participant's files, the old tables and the old marker go, in this order. So
a kill at any moment leaves every other result readable, and a second call goes on:

    <store>/.forgetting/<digest>.json   the videos to be forgotten, as long as some may be left
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc

from storage.datasets.erased import digest_of_participant, read_erased, remember_to_leave_out
from storage.erasure.scan import is_table, is_text, read_strings, stored_paths, text_names
from storage.erasure.traces import Traces
from storage.errors import StoreError
from storage.fingerprint import digest_of
from storage.schema import read_parquet
from storage.store.atomic import is_abandoned
from storage.store.cache import remove_cache
from storage.store.part import (
    Part,
    marker_path,
    note_of,
    read_notes,
    read_parts,
    table_path,
    tables_are_intact,
    write_marker,
    write_note,
    write_table,
)
from storage.store.store import TEMPORARY, Store

_UNFINISHED = ".forgetting"
_NO_TABLES = frozenset({"done", "forgotten", "files"})
_UNLISTED = ("logs", "work")  # libraries' logs, and checkpoints of trainings that go on


def find_traces(
    store: Store,
    participant_id: str,
    videos: Iterable[str] = (),
    other_videos: Iterable[str] = (),
) -> Traces:
    """Gather the names of a participant's videos: those given, and those that any table tells."""
    own, others = set(videos) | _unfinished(store, participant_id), set(other_videos)
    named: set[str] = set()
    for path, is_file in stored_paths(store).items():
        table = read_strings(store, path) if is_file and is_table(path) else None
        if table is None or "video_id" not in table.column_names:
            continue
        if "participant_id" not in table.column_names:
            named.update(table["video_id"].to_pylist())
            continue
        for row in table.select(["video_id", "participant_id"]).to_pylist():
            if row["participant_id"] is not None:
                (own if row["participant_id"] == participant_id else others).add(row["video_id"])
    known = Traces(participant_id, frozenset(own), frozenset(others - own))
    own |= {name for name in named if known.in_cell("video_id", name)}
    return replace(known, videos=frozenset(own), other_videos=frozenset(others - own))


def erase_participant(store: Store, traces: Traces) -> Mapping[str, int]:
    """Remove all that names a participant, and leave the participant out of every run to come.

    Returns how many results of each stage went.

    Raises:
        StoreError: another process is writing to the store, or the store cannot be written.
    """
    _check_nobody_writes(store)
    remember_to_leave_out(store, traces.participant_id)
    note = _note_path(store, traces.participant_id)
    store.write_bytes(note, json.dumps(sorted(traces.videos)).encode())
    remove_cache(store)
    for path in stored_paths(store, TEMPORARY):
        store.remove(path)
    removed: Counter[str] = Counter()
    for variant_path in variant_paths(store):
        removed[variant_path.partition("/")[0]] += _erase_in(store, variant_path, traces)
    store.remove(_UNFINISHED if store.list_files(_UNFINISHED) == [note] else note)
    return {stage: count for stage, count in removed.items() if count}


def is_unfinished(store: Store, participant_id: str | None = None) -> bool:
    """Say whether a participant, or anybody, has been forgotten in part: a call was stopped."""
    if participant_id is None:
        return bool(store.list_files(_UNFINISHED))
    return store.exists(_note_path(store, participant_id))


def variant_paths(store: Store) -> list[str]:
    """List the variants of all stages, relative to the store's root."""
    paths = stored_paths(store)
    below = {"/".join(path.split("/")[:2]) for path in paths if not path.startswith(".")}
    return sorted(path for path in below if f"{path}/variant.json" in paths)


def _unfinished(store: Store, participant_id: str) -> set[str]:
    """Read which videos an earlier call had begun to forget."""
    note = _note_path(store, participant_id)
    if not store.exists(note):
        return set()
    with store.open(note) as stream:
        return set(json.loads(stream.read()))


def _note_path(store: Store, participant_id: str) -> str:
    salt = read_erased(store).salt
    return f"{_UNFINISHED}/{digest_of_participant(salt, participant_id)}.json"


def _check_nobody_writes(store: Store) -> None:
    """Of a remote store nobody can tell."""
    if not store.is_local:
        return
    alive = [p for p in Path(store.full_path(TEMPORARY)).iterdir() if not is_abandoned(p)]
    if alive:
        raise StoreError(
            f"Another process is writing to the store {store.url!r}, a run perhaps, and may bring "
            f"back what is being forgotten: wait for its end, or remove {str(alive[0])!r} if there "
            "is none."
        )


def _erase_in(store: Store, variant_path: str, traces: Traces) -> int:
    """Forget in one variant; gives the number of items that went."""
    erased: set[str] = set()
    for part in list(read_parts(store, variant_path)):
        named = _items_naming(store, variant_path, part, traces)
        if named:
            _take_out(store, variant_path, part, named)
            erased |= named
    _clean_notes(store, variant_path, traces)
    _remove_unlisted(store, variant_path, traces)
    return len(erased)


def _items_naming(store: Store, variant_path: str, part: Part, traces: Traces) -> set[str]:
    named = {item for item in part.items if traces.in_cell("_item_id", item)}
    for name in part.tables:
        path = table_path(variant_path, part.part_id, name)
        table = read_strings(store, path) if store.exists(path) else None
        if table is not None and traces.in_table(table):
            named |= {row["_item_id"] for row in table.to_pylist() if traces.in_row(row)}
    for item, files in part.files.items():
        if item not in named and any(_file_names(store, path, traces) for path in files):
            named.add(item)
    return named


def _file_names(store: Store, path: str, traces: Traces) -> bool:
    if traces.in_name(path):
        return True
    return is_text(path) and store.exists(path) and text_names(store, path, traces)


def _take_out(store: Store, variant_path: str, part: Part, named: Collection[str]) -> None:
    """Put a part without the named items in the place of one with them.

    A part with a damaged table, or one that was half removed, counts for none of its items: there
    is nothing to keep.
    """
    if set(part.items) - set(named) and tables_are_intact(store, variant_path, part):
        _write_rest(store, variant_path, part, named)
    for item in named:
        for path in part.files.get(item, {}):
            _remove_file(store, path)
    for name in part.tables:
        store.remove(table_path(variant_path, part.part_id, name))
    store.remove(marker_path(variant_path, part.part_id))


def _write_rest(store: Store, variant_path: str, part: Part, named: Collection[str]) -> None:
    """Write what stays of a part as a part of the same age, which no note brings to count again."""
    part_id = digest_of(part.part_id, sorted(named))[:16]
    held = {item for of_part, item in read_notes(store, variant_path) if of_part == part.part_id}
    if held - set(named):
        pairs = [(part_id, item) for item in held - set(named)]
        write_note(store, variant_path, part_id, pairs)
    tables = {}
    for name in part.tables:
        with store.open(table_path(variant_path, part.part_id, name)) as stream:
            table = read_parquet(pa.BufferReader(stream.read()))
        is_named = pc.is_in(table["_item_id"], pa.array(sorted(named), pa.string()))
        if rest := table.filter(pc.invert(is_named)):
            tables[name] = write_table(store, variant_path, part_id, name, rest)
    rest_of_part = replace(
        part,
        part_id=part_id,
        items={item: digest for item, digest in part.items.items() if item not in named},
        files={item: files for item, files in part.files.items() if item not in named},
        tables=tables,
    )
    write_marker(store, variant_path, rest_of_part)


def _clean_notes(store: Store, variant_path: str, traces: Traces) -> None:
    """Take the participant's items out of the notes; a damaged note says nothing and goes."""
    for path in store.list_files(f"{variant_path}/forgotten"):
        with store.open(path) as stream:
            pairs = note_of(stream.read())
        kept = [pair for pair in pairs if not traces.in_cell("_item_id", pair[1])]
        if len(kept) < len(pairs) or not pairs:
            if kept:
                write_note(store, variant_path, digest_of(sorted(kept))[:16], kept)
            store.remove(path)


def _remove_unlisted(store: Store, variant_path: str, traces: Traces) -> None:
    """Remove what no part lists: logs, checkpoints, and what killed runs left of the participant.

    Damaged markers go too: they count for nothing, and may name anybody.
    """
    for name in _UNLISTED:
        store.remove(f"{variant_path}/{name}")
    parts = list(read_parts(store, variant_path))
    markers = {marker_path(variant_path, part.part_id) for part in parts}
    for path in store.list_files(f"{variant_path}/done"):
        if path not in markers:
            store.remove(path)
    listed = {path for part in parts for files in part.files.values() for path in files}
    part_ids = {part.part_id for part in parts}
    for path, is_file in stored_paths(store, variant_path).items():
        if is_file and path not in listed and _is_left_over(store, path, part_ids, traces):
            _remove_file(store, path)
    _remove_empty_folders(store, f"{variant_path}/files", traces)


def _is_left_over(store: Store, path: str, part_ids: Collection[str], traces: Traces) -> bool:
    location = PurePosixPath(path)
    if is_table(path) and location.parts[2] not in _NO_TABLES:
        if location.stem in part_ids:
            return False
        table = read_strings(store, path)
        return table is None or traces.in_table(table)
    return location.parts[2] == "files" and _file_names(store, path, traces)


def _remove_file(store: Store, path: str) -> None:
    store.remove(path)
    _remove_while_empty(store, PurePosixPath(path).parent)


def _remove_empty_folders(store: Store, path: str, traces: Traces) -> None:
    """Remove folders named after the participant in which nothing is left, the deepest first."""
    folders = [p for p, is_file in stored_paths(store, path).items() if not is_file]
    for folder in reversed(folders):
        if traces.in_name(folder):
            _remove_while_empty(store, PurePosixPath(folder))


def _remove_while_empty(store: Store, folder: PurePosixPath) -> None:
    """Remove an empty folder, and those above it that it leaves empty, below a variant's own."""
    while len(folder.parts) > 3:
        store.fs.invalidate_cache()
        try:
            if store.fs.ls(store.full_path(str(folder))):
                return
            store.fs.rmdir(store.full_path(str(folder)))
        except OSError:  # object stores have no folders
            return
        folder = folder.parent
