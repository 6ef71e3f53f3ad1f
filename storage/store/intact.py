"""Whether the files and tables of parts still have the content that they were written with.

Every check looks at each file's identity, so that a missing or changed file is found at once. A
file is read only if its identity is new, or was last verified long ago (`Verification`). What is
recorded, in the index ``parts``, is one fact per part: the items whose files are damaged.
"""

import json
import os
import time
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from storage.store.file_identity import Identity, identity_of_object
from storage.store.part import Part, State, table_path
from storage.store.store import Store

INDEX = "parts"
Damaged = frozenset[str]
_Identities = dict[str, Identity | None]


class PartCheck:
    """One look at the files of a variant's parts."""

    def __init__(self, store: Store, variant_path: str) -> None:
        self._store = store
        self._path = variant_path
        self._index = store.index(INDEX)
        self._listing = None if store.is_local else _list(store, variant_path)

    def damaged_items(self, parts: Iterable[Part]) -> dict[str, Damaged]:
        """Map each part's id to its items whose files, or tables, are damaged or missing."""
        damaged: dict[str, Damaged] = {}
        unread: list[tuple[Part, _Identities, Identity]] = []
        for part in parts:
            identities = self._identities(part)
            combined = _combined(part, identities)
            known = self._index.known(self._name(part), combined)
            if known is None:
                unread.append((part, identities, combined))
            else:
                damaged[part.part_id] = frozenset(json.loads(known)) if known else frozenset()
        if unread:
            with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
                damaged |= pool.map(lambda each: self._read(*each), unread)
        return damaged

    def verify(self, part: Part, items: Collection[str]) -> Damaged:
        """Read the files of some of a part's items; returns those that are damaged."""
        damaged = frozenset(
            item
            for item in items
            if not all(self._is_intact(path, state) for path, state in part.files[item].items())
        )
        if damaged:
            self.discard(part)
        return damaged

    def discard(self, part: Part) -> None:
        """Let the next check read a part again, since some of it was found damaged."""
        self._index.discard(self._name(part))

    def _read(self, part: Part, identities: _Identities, combined: Identity) -> tuple[str, Damaged]:
        started_ns = time.time_ns()
        tables = (self._is_intact(path, state) for path, state in self._tables(part).items())
        if all(tables):
            damaged = sorted(
                item
                for item, files in part.files.items()
                if not all(self._is_intact(path, state) for path, state in files.items())
            )
        else:
            damaged = sorted(part.items)
        is_settled = all(
            identity.is_settled(started_ns) for identity in identities.values() if identity
        )
        is_settled = is_settled and self._identities(part, look_again=True) == identities
        value = json.dumps(damaged) if damaged else ""
        self._index.record(self._name(part), combined, value, is_settled=is_settled)
        return part.part_id, frozenset(damaged)

    def _is_intact(self, path: str, state: State) -> bool:
        return self._store.file_state(path) == tuple(state)

    def _identities(self, part: Part, *, look_again: bool = False) -> _Identities:
        """Map the part's files to their identities, ``None`` for those that are missing."""
        paths = [
            *self._tables(part),
            *(path for of_item in part.files.values() for path in of_item),
        ]
        return {path: self._identity(path, look_again=look_again) for path in paths}

    def _identity(self, path: str, *, look_again: bool) -> Identity | None:
        try:
            if self._listing is None or look_again:
                return self._store.identity(path)
            facts = self._listing.get(self._store.full_path(path))
            return None if facts is None else identity_of_object(facts)
        except FileNotFoundError:
            return None

    def _tables(self, part: Part) -> dict[str, State]:
        return {
            table_path(self._path, part.part_id, name): state for name, state in part.tables.items()
        }

    def _name(self, part: Part) -> str:
        return f"{self._path}/{part.part_id}"


def _combined(part: Part, identities: _Identities) -> Identity:
    """Return one identity for all files of a part, together with what they should contain."""
    lines = [f"{path} {identity and identity.text}" for path, identity in identities.items()]
    states = [*part.tables.values(), *(s for files in part.files.values() for s in files.values())]
    lines += [f"{size} {digest}" for size, digest in states]
    return Identity("\n".join(lines), 0)


def _list(store: Store, variant_path: str) -> Mapping[str, Any]:
    """List all files of a variant at once, as requests to a remote store are slow."""
    store.fs.invalidate_cache()
    return store.fs.find(store.full_path(variant_path), detail=True)
