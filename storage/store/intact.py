"""Whether the files and tables of parts still have the content that they were written with.

Every check looks at each file's identity, so that a missing or changed file is found at once. A
file is read only if its identity is new, or was last verified long ago (`Verification`). What is
recorded, in the index ``parts``, is one fact per part: the items whose files are damaged.
"""

import json
import time
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from storage.store.file_identity import Identity
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
        self._listing: Mapping[str, Identity] | None = None

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
            damaged |= self._read_all(unread)
        return damaged

    def record_written(self, part: Part, written: Mapping[str, Identity | None]) -> None:
        """Record that a part is intact which was just written to a store that reports identities.

        Without, the next look downloads it.
        """
        identities = {path: written.get(path) for path in self._paths(part)}
        if all(identities.values()):
            combined = _combined(part, identities)
            self._index.record(self._name(part), combined, "", is_settled=True)

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

    def _read_all(
        self, unread: Collection[tuple[Part, _Identities, Identity]]
    ) -> dict[str, Damaged]:
        """Read parts, and record what was found of those that stayed the same meanwhile."""
        started_ns = time.time_ns()
        with ThreadPoolExecutor(max_workers=self._store.num_threads) as pool:
            found = list(pool.map(self._read, (part for part, _, _ in unread)))
        self._listing = None  # look again
        for (part, identities, combined), damaged in zip(unread, found, strict=True):
            is_settled = all(
                identity.is_settled(started_ns) for identity in identities.values() if identity
            )
            is_settled = is_settled and self._identities(part) == identities
            value = json.dumps(sorted(damaged)) if damaged else ""
            self._index.record(self._name(part), combined, value, is_settled=is_settled)
        return {part.part_id: damaged for (part, _, _), damaged in zip(unread, found, strict=True)}

    def _read(self, part: Part) -> Damaged:
        if not all(self._is_intact(path, state) for path, state in self._tables(part).items()):
            return frozenset(part.items)
        return frozenset(
            item
            for item, files in part.files.items()
            if not all(self._is_intact(path, state) for path, state in files.items())
        )

    def _is_intact(self, path: str, state: State) -> bool:
        return self._store.file_state(path, state[0]) == tuple(state)

    def _paths(self, part: Part) -> list[str]:
        files = (path for of_item in part.files.values() for path in of_item)
        return [*self._tables(part), *files]

    def _identities(self, part: Part) -> _Identities:
        """Map the part's files to their identities, ``None`` for those that are missing."""
        if self._store.is_local:
            return {path: self._identity(path) for path in self._paths(part)}
        if self._listing is None:  # all files at once, as requests to a remote store are slow
            self._listing = self._store.list_tree(self._path)
        return {path: self._listing.get(path) for path in self._paths(part)}

    def _identity(self, path: str) -> Identity | None:
        try:
            return self._store.identity(path)
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
