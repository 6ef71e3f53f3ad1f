"""Snapshots of variants that are kept while nothing is added to the variants.

A run reads each variant several times. Looking at all files again each time would find no more than
a file removed during the run, which its user notices: tables are compared with their digests when
they are read, and files before a stage uses them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from storage.store.part import marker_paths, tombstone_folder
from storage.store.snapshot import Snapshot
from storage.store.variant import Variant

_Listing = tuple[list[str], list[str]] | int
_NUM_KEPT = 2  # of each variant: the manifest's, for one, has its samples and its class plan


@dataclass
class Snapshots:
    """The latest snapshots of each variant."""

    _latest: dict[str, list[tuple[_Listing, Snapshot]]] = field(default_factory=dict)

    def look(self, variant: Variant, expected: Mapping[str, str]) -> Snapshot:
        """Return a kept snapshot if no part or tombstone was added or removed since.

        It must also be of the same expected items; otherwise look at all files.
        """
        listing = _listing_of(variant)
        kept = self._latest.get(variant.path, [])
        for known, snapshot in kept:
            is_current = known == listing and (variant.store.is_local or not snapshot.pending)
            if is_current and snapshot.expected == expected:
                return snapshot
        found = variant.look(expected)
        self._latest[variant.path] = [(listing, found), *kept][:_NUM_KEPT]
        return found


def _listing_of(variant: Variant) -> _Listing:
    """Return what changes with the variant's parts and tombstones.

    Listing a remote store is slow, and what others add changes nothing of items that are finished:
    there it is how often this process has changed the variant.
    """
    if not variant.store.is_local:
        return variant.store.num_changes(variant.path)
    return (
        marker_paths(variant.store, variant.path),
        variant.store.list_files(tombstone_folder(variant.path)),
    )
