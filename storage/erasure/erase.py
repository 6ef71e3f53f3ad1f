"""Remove one participant from all variants of all stages of a store.

A part holds many videos and never changes: its other items are written as a new part first, then
the participant's files, the old tables and the old marker are removed, in this order. A kill at any
moment therefore leaves every other result readable, and a second call continues:

    <store>/.erasing/<digest>.json   the participant's videos, until the erasure is finished
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc

from storage.datasets.erased import (
    digest_of_participant,
    digests_of_participant,
    mark_erased,
    read_erased,
)
from storage.erasure.scan import is_table, is_text, read_strings, stored_paths, text_names
from storage.erasure.traces import Traces
from storage.erasure.writers import check_nobody_writes
from storage.fingerprint import digest_of
from storage.identity import participant_key
from storage.schema import read_parquet
from storage.store.cache import remove_cache
from storage.store.lease import EXPIRY_SECONDS
from storage.store.part import (
    Part,
    marker_path,
    parse_tombstone,
    read_parts,
    read_tombstones,
    table_path,
    tables_are_intact,
    tombstone_folder,
    write_marker,
    write_table,
    write_tombstone,
)
from storage.store.store import TEMPORARY, Store

_UNFINISHED = ".erasing"
_NO_TABLES = frozenset({"done", "invalidated", "files"})
_UNLISTED = ("logs", "work")  # libraries' logs, and checkpoints of unfinished trainings


def find_traces(
    store: Store,
    participant_id: str,
    videos: Iterable[str] = (),
    other_videos: Iterable[str] = (),
    spellings: Iterable[str] = (),
) -> Traces:
    """Collect the names of a participant's videos: ``videos``, and those in any stored table.

    ``spellings`` of the id are of the data set; those in stored tables are added.
    """
    key = participant_key(participant_id)
    own, others = set(videos) | _unfinished(store, participant_id), set(other_videos)
    spelled = set(spellings)
    named: set[str] = set()
    for path, is_file in stored_paths(store).items():
        table = read_strings(store, path) if is_file and is_table(path) else None
        if table is None or "video_id" not in table.column_names:
            continue
        if "participant_id" not in table.column_names:
            named.update(table["video_id"].to_pylist())
            continue
        for row in table.select(["video_id", "participant_id"]).to_pylist():
            if row["participant_id"] is None:
                continue
            is_own = participant_key(row["participant_id"]) == key
            (own if is_own else others).add(row["video_id"])
            if is_own:
                spelled.add(row["participant_id"])
    known = Traces(participant_id, frozenset(own), frozenset(others - own), frozenset(spelled))
    own |= {name for name in named if known.in_cell("video_id", name)}
    return replace(known, videos=frozenset(own), other_videos=frozenset(others - own))


def erase_participant(
    store: Store, traces: Traces, expiry_seconds: float = EXPIRY_SECONDS
) -> Mapping[str, int]:
    """Remove everything that names a participant, and exclude them from every future run.

    Returns the number of removed items by stage.

    Raises:
        StoreError: another process is writing to the store, or the store cannot be written.
    """
    check_nobody_writes(store, expiry_seconds)
    mark_erased(store, traces.participant_id)
    unfinished = _unfinished_paths(store, traces.participant_id)
    store.write_bytes(unfinished[0], json.dumps(sorted(traces.videos)).encode())
    remove_cache(store)
    for path in stored_paths(store, TEMPORARY):
        store.remove(path)
    removed: Counter[str] = Counter()
    for variant_path in variant_paths(store):
        removed[variant_path.partition("/")[0]] += _erase_in(store, variant_path, traces)
    remove_cache(store)  # a run in a remote store may have written it again meanwhile
    check_nobody_writes(store, expiry_seconds)  # until then the erasure counts as unfinished
    others = set(store.list_files(_UNFINISHED)) - set(unfinished)
    for path in unfinished if others else (_UNFINISHED,):
        store.remove(path)
    return {stage: count for stage, count in removed.items() if count}


def is_unfinished(store: Store, participant_id: str | None = None) -> bool:
    """Return whether the erasure of a participant, or of anyone, was stopped before its end."""
    if participant_id is None:
        return bool(store.list_files(_UNFINISHED))
    return any(map(store.exists, _unfinished_paths(store, participant_id)))


def variant_paths(store: Store) -> list[str]:
    """List the variants of all stages, relative to the store's root."""
    paths = stored_paths(store)
    below = {"/".join(path.split("/")[:2]) for path in paths if not path.startswith(".")}
    return sorted(path for path in below if f"{path}/variant.json" in paths)


def _unfinished(store: Store, participant_id: str) -> set[str]:
    """Read the videos of an erasure that was stopped."""
    videos: set[str] = set()
    for path in filter(store.exists, _unfinished_paths(store, participant_id)):
        with store.open(path) as stream:
            videos |= set(json.loads(stream.read()))
    return videos


def _unfinished_paths(store: Store, participant_id: str) -> list[str]:
    """Return where an erasure's videos are, and where older versions wrote them."""
    salt = read_erased(store).salt
    own = digest_of_participant(salt, participant_id)
    older = digests_of_participant(salt, participant_id) - {own}
    return [f"{_UNFINISHED}/{digest}.json" for digest in (own, *older)]


def _erase_in(store: Store, variant_path: str, traces: Traces) -> int:
    """Erase from one variant; returns the number of removed items."""
    erased: set[str] = set()
    for part in list(read_parts(store, variant_path)):
        named = _items_naming(store, variant_path, part, traces)
        if named:
            _remove_items(store, variant_path, part, named)
            erased |= named
    _clean_tombstones(store, variant_path, traces)
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


def _remove_items(store: Store, variant_path: str, part: Part, named: Collection[str]) -> None:
    """Replace a part by one without the named items.

    Nothing is kept of a part with a damaged table: its items are not finished anyway.
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
    """Write a part's other items as a part of the same age; invalidated ones stay invalidated."""
    part_id = digest_of(part.part_id, sorted(named))[:16]
    tombstones = read_tombstones(store, variant_path)
    invalidated = {item for of_part, item in tombstones if of_part == part.part_id} - set(named)
    if invalidated:
        pairs = [(part_id, item) for item in invalidated]
        write_tombstone(store, variant_path, part_id, pairs)
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


def _clean_tombstones(store: Store, variant_path: str, traces: Traces) -> None:
    """Remove the participant's items from the tombstones, and damaged tombstones altogether."""
    for path in store.list_files(tombstone_folder(variant_path)):
        with store.open(path) as stream:
            pairs = parse_tombstone(stream.read())
        kept = [pair for pair in pairs if not traces.in_cell("_item_id", pair[1])]
        if len(kept) < len(pairs) or not pairs:
            if kept:
                write_tombstone(store, variant_path, digest_of(sorted(kept))[:16], kept)
            store.remove(path)


def _remove_unlisted(store: Store, variant_path: str, traces: Traces) -> None:
    """Remove what no part lists: logs, checkpoints, and the participant's files of killed runs.

    Damaged markers are removed too, as they may name any participant.
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
    folder, part_id = PurePosixPath(path).parts[2], PurePosixPath(path).stem
    if is_table(path) and folder not in _NO_TABLES:
        if part_id in part_ids:
            return False
        table = read_strings(store, path)
        return table is None or traces.in_table(table)
    return folder == "files" and _file_names(store, path, traces)


def _remove_file(store: Store, path: str) -> None:
    store.remove(path)
    _remove_while_empty(store, PurePosixPath(path).parent)


def _remove_empty_folders(store: Store, path: str, traces: Traces) -> None:
    """Remove empty folders named after the participant, the deepest first."""
    folders = [p for p, is_file in stored_paths(store, path).items() if not is_file]
    for folder in reversed(folders):
        if traces.in_name(folder):
            _remove_while_empty(store, PurePosixPath(folder))


def _remove_while_empty(store: Store, folder: PurePosixPath) -> None:
    """Remove a folder if it is empty, and its parents up to the variant's own likewise."""
    if store.remote and not store.remote.has_folders:
        return
    while len(folder.parts) > 3:
        store.fs.invalidate_cache()
        try:
            if store.fs.ls(store.full_path(str(folder))):
                return
            store.fs.rmdir(store.full_path(str(folder)))
        except OSError:
            return
        folder = folder.parent
