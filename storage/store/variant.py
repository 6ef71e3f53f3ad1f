"""A variant: one stage's results for one set of settings, stored as immutable parts."""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from storage.fingerprint import digest_of
from storage.schema import to_table
from storage.store.atomic import temporary_name
from storage.store.file_identity import Identity
from storage.store.intact import PartCheck
from storage.store.part import (
    Part,
    State,
    Written,
    publish_file,
    read_parts,
    read_tombstones,
    tombstone_folder,
    write_marker,
    write_table,
    write_tombstone,
)
from storage.store.snapshot import Snapshot
from storage.store.store import Store

Record = TypeVar("Record")


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemOutput:
    """A stage's output for one item: its rows, and its files as local path by stored path.

    Stored paths are relative to the store's root; each belongs to one item.
    """

    item_id: str
    rows: tuple[Any, ...]
    files: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One stage's results for one set of settings.

    ``identity`` is the content of `variant.json`: version, settings and upstream variants.
    Methods take the expected items as input digest by item id. An item is finished if a part lists
    it with that digest and its tables and files still have the content they were written with.
    """

    store: Store
    stage: str
    variant_id: str
    identity: str = field(default="", compare=False, repr=False)

    @property
    def path(self) -> str:
        """The variant's folder, relative to the store's root."""
        return f"{self.stage}/{self.variant_id}"

    @property
    def identity_path(self) -> str:
        """The file that holds the settings and upstream variants."""
        return f"{self.path}/variant.json"

    def file_path(self, name: str) -> str:
        """Return the path of one of the variant's files, relative to the store's root."""
        return f"{self.path}/files/{name}"

    def keep_log(self, log_path: Path) -> str | None:
        """Move a library's log to the variant's logs, which erasing any participant removes.

        Returns its path or URL, or ``None`` if there is no log.
        """
        if not log_path.is_file():
            return None
        # The temporary name keeps apart the logs of several nodes that fail in the same second.
        prefix = f"{time.strftime('%Y%m%dT%H%M%S')}-{temporary_name()}"
        stored_path = f"{self.path}/logs/{prefix}-{log_path.name}"
        self.store.publish(log_path, stored_path)
        return self.store.location(stored_path)

    def look(self, expected: Mapping[str, str]) -> Snapshot:
        """Find the expected items that are finished now, for several reads at that moment."""
        return Snapshot(
            store=self.store, path=self.path, expected=expected, owners=self._owners(expected)
        )

    def finished(self, expected: Mapping[str, str]) -> set[str]:
        """Return the ids of the expected items that are finished."""
        return set(self._owners(expected))

    def pending(self, expected: Mapping[str, str]) -> list[str]:
        """List the expected items that are not finished, in their order."""
        return self.look(expected).pending

    def commit(self, outputs: Iterable[ItemOutput], expected: Mapping[str, str]) -> None:
        """Write items as one part: files, then tables, then the marker."""
        outputs = list(outputs)
        if not outputs:
            return
        items = {output.item_id: expected[output.item_id] for output in outputs}
        part_id = digest_of(items, time.time_ns())[:16]
        written: dict[str, Identity | None] = {}
        files = {output.item_id: self._publish(output.files, written) for output in outputs}
        tables = {
            record_type.__name__: self._write_table(part_id, record_type, outputs, items, written)
            for record_type in {type(row) for output in outputs for row in output.rows}
        }
        part = Part(
            part_id=part_id, created_ns=time.time_ns(), items=items, files=files, tables=tables
        )
        write_marker(self.store, self.path, part)
        if not self.store.is_local:
            PartCheck(self.store, self.path).record_written(part, written)

    def read(self, record_type: type[Record], expected: Mapping[str, str]) -> list[Record]:
        """Read the rows of the expected items that are finished, in their order."""
        return self.look(expected).read(record_type)

    def table(self, record_type: type, expected: Mapping[str, str]) -> pa.Table:
        """Read the finished items' rows in order, with columns `_item_id` and `_input_digest`."""
        return self.look(expected).table(record_type)

    def invalidate(self, expected: Mapping[str, str], once_for: str | None = None) -> None:
        """Invalidate the items in all existing parts, so that they are computed again.

        Writes a tombstone and removes nothing: other items of the same parts stay finished. With
        ``once_for``, the id of a run, nothing is invalidated that was for this run before, as long
        as the same items are expected: a new video makes it another request.
        """
        name = None
        if once_for is not None:
            name = digest_of(once_for, sorted(expected.items()))[:16]
            if self.store.exists(f"{tombstone_folder(self.path)}/{name}.json"):
                return
        invalidated = [
            (part.part_id, item)
            for part in read_parts(self.store, self.path)
            for item, digest in part.items.items()
            if expected.get(item) == digest
        ]
        if invalidated or name:
            name = name or digest_of(invalidated, time.time_ns())[:16]
            write_tombstone(self.store, self.path, name, invalidated)

    def _owners(self, expected: Mapping[str, str]) -> dict[str, Part]:
        """Map each finished item to the newest intact part that lists it with its input digest."""
        invalidated = read_tombstones(self.store, self.path)
        listed: dict[str, tuple[Part, list[str]]] = {}
        for part in sorted(
            read_parts(self.store, self.path), key=lambda part: (part.created_ns, part.part_id)
        ):
            items = [
                item
                for item, digest in part.items.items()
                if expected.get(item) == digest and (part.part_id, item) not in invalidated
            ]
            if items:
                listed[part.part_id] = part, items
        check = PartCheck(self.store, self.path)
        damaged = check.damaged_items([part for part, _ in listed.values()])
        return {
            item: part
            for part, items in listed.values()
            for item in items
            if item not in damaged[part.part_id]
        }

    def _publish(self, files: Mapping[str, Path], written: Written) -> dict[str, State]:
        with ThreadPoolExecutor(1 if self.store.is_local else self.store.num_threads) as pool:
            states = pool.map(
                lambda file: publish_file(self.store, file[1], file[0], written), files.items()
            )
            return dict(zip(files, states, strict=True))

    def _write_table(
        self,
        part_id: str,
        record_type: type,
        outputs: list[ItemOutput],
        items: Mapping[str, str],
        written: Written,
    ) -> State:
        rows = [
            (output.item_id, row)
            for output in outputs
            for row in output.rows
            if type(row) is record_type
        ]
        table = to_table(record_type, [row for _, row in rows])
        ids = [item_id for item_id, _ in rows]
        for name, values in (("_item_id", ids), ("_input_digest", [items[i] for i in ids])):
            table = table.append_column(pa.field(name, pa.string(), nullable=False), [values])
        return write_table(self.store, self.path, part_id, record_type.__name__, table, written)


def open_variant(
    store: Store,
    stage: str,
    *,
    version: int,
    settings: Mapping[str, Any],
    upstream: Sequence[str] = (),
) -> Variant:
    """Open a stage's variant for these settings and upstream variants; creates it if missing.

    In a store that is only read it may be missing, which is like an empty one."""
    identity = {
        "stage": stage,
        "version": version,
        "settings": dict(settings),
        "upstream": list(upstream),
    }
    text = json.dumps(identity, indent=2, sort_keys=True, ensure_ascii=False)
    variant_id = digest_of(identity)[:12]
    variant = Variant(store=store, stage=stage, variant_id=variant_id, identity=text)
    if not store.read_only:
        store.ensure(variant.identity_path, text.encode())
    return variant
