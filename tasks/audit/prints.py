"""Compare what videos look and sound like, where the store knows it from cutting them before."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from storage.errors import StoreError
from storage.forget import variant_paths
from storage.part import Part, read_notes, read_parts, read_rows
from storage.records import MediaFacts, MediaPrintRecord, VideoId
from storage.store import Store
from tasks.audit.files import digest_files
from tasks.labels.duplicates import find_duplicates

_PRINTED_BY = "segment/"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenPrints:
    """Groups of videos that are one recording encoded again, and the videos without a print."""

    groups: tuple[tuple[VideoId, ...], ...]
    unprinted: frozenset[VideoId]


def compare_prints(store: Store | None, paths: Mapping[VideoId, Path]) -> SeenPrints:
    """Find recordings that were encoded again; a print counts only for the file it was made of."""
    prints = {} if store is None else _stored_prints(store, paths)
    groups = find_duplicates([print_ for print_, _ in prints.values()])
    suspects = {video_id: paths[video_id] for group in groups for video_id in group}
    digests = digest_files(suspects)
    current = [
        tuple(video_id for video_id in group if digests.get(video_id) == prints[video_id][1])
        for group in groups
    ]
    return SeenPrints(
        groups=tuple(g for g in current if len({digests[video_id] for video_id in g}) > 1),
        unprinted=frozenset(paths.keys() - prints.keys()),
    )


def _stored_prints(
    store: Store, paths: Mapping[VideoId, Path]
) -> dict[VideoId, tuple[MediaPrintRecord, str]]:
    """Read the newest print of each video, with the digest of the file it was made of."""
    found: dict[VideoId, tuple[MediaPrintRecord, str]] = {}
    for variant_path, part in _parts_in_time(store):
        gone = read_notes(store, variant_path)
        with contextlib.suppress(StoreError):  # written by another version
            made_of = {
                facts.video_id: facts.source_digest
                for facts in read_rows(store, variant_path, part, MediaFacts)
            }
            for print_ in read_rows(store, variant_path, part, MediaPrintRecord):
                video_id = print_.video_id
                counts = (part.part_id, video_id) not in gone and video_id in made_of
                if counts and video_id in paths:
                    found[video_id] = print_, made_of[video_id]
    return found


def _parts_in_time(store: Store) -> list[tuple[str, Part]]:
    parts = [
        (variant_path, part)
        for variant_path in variant_paths(store)
        if variant_path.startswith(_PRINTED_BY)
        for part in read_parts(store, variant_path)
    ]
    return sorted(parts, key=lambda pair: (pair[1].created_ns, pair[1].part_id))
