"""Compare what videos look and sound like, where the store knows it from cutting them before."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from storage.erasure.erase import variant_paths
from storage.errors import StoreError
from storage.records import MediaFacts, MediaHashRecord, VideoId
from storage.store.part import Part, read_notes, read_parts, read_rows
from storage.store.store import Store
from tasks.audit.files import Seen, digest_files
from tasks.labels.duplicates import find_duplicates

_HASHED_BY = "segment/"


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedHashes:
    """Groups of videos that are one recording encoded again, and the videos without a print."""

    groups: tuple[tuple[VideoId, ...], ...]
    unhashed: frozenset[VideoId]


def compare_hashes(
    store: Store | None, paths: Mapping[VideoId, Path], seen: Seen = lambda: None
) -> ComparedHashes:
    """Find recordings that were encoded again; a print counts only for the file it was made of.

    Every video with a print is read once, to know whether it still is that file; `seen` is called
    for each video.
    """
    stored = {} if store is None else _stored_hashes(store, paths)
    printed = {video_id: paths[video_id] for video_id, _ in stored}
    for _ in paths.keys() - printed.keys():
        seen()
    digests = digest_files(printed, seen)
    hashes = [stored[made_of] for made_of in digests.items() if made_of in stored]
    return ComparedHashes(
        groups=tuple(
            group
            for group in find_duplicates(hashes)
            if len({digests[video_id] for video_id in group}) > 1
        ),
        unhashed=frozenset(paths.keys() - {print_.video_id for print_ in hashes}),
    )


def _stored_hashes(
    store: Store, paths: Mapping[VideoId, Path]
) -> dict[tuple[VideoId, str], MediaHashRecord]:
    """Read the newest print of each video and of each file, by its digest, that it has been."""
    found: dict[tuple[VideoId, str], MediaHashRecord] = {}
    for variant_path, part in _parts_in_time(store):
        gone = read_notes(store, variant_path)
        with contextlib.suppress(StoreError):  # written by another version
            made_of = {
                facts.video_id: facts.source_digest
                for facts in read_rows(store, variant_path, part, MediaFacts)
            }
            for print_ in read_rows(store, variant_path, part, MediaHashRecord):
                video_id = print_.video_id
                counts = (part.part_id, video_id) not in gone and video_id in made_of
                if counts and video_id in paths:
                    found[video_id, made_of[video_id]] = print_
    return found


def _parts_in_time(store: Store) -> list[tuple[str, Part]]:
    parts = [
        (variant_path, part)
        for variant_path in variant_paths(store)
        if variant_path.startswith(_HASHED_BY)
        for part in read_parts(store, variant_path)
    ]
    return sorted(parts, key=lambda pair: (pair[1].created_ns, pair[1].part_id))
