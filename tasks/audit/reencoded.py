"""Detection of re-encoded recordings, by the perceptual hashes in the store."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from storage.erasure.erase import variant_paths
from storage.errors import StoreError
from storage.media_records import MediaFacts, MediaHashRecord
from storage.records import VideoId
from storage.store.part import Part, read_parts, read_rows, read_tombstones
from storage.store.store import Store
from tasks.audit.files import OnFile, digest_files
from tasks.labels.duplicates.accepted import NONE_ACCEPTED, AcceptedPairs, without_accepted
from tasks.labels.duplicates.find import find_duplicates, groups_of

_HASHING_STAGE = "segment/"


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedVideos:
    """What the store holds about the videos that the segment stage has decoded.

    ``groups`` are videos that are one recording, ``unhashed`` those that were not decoded, and
    ``facts`` about all others.
    """

    groups: tuple[tuple[VideoId, ...], ...]
    unhashed: frozenset[VideoId]
    facts: tuple[MediaFacts, ...] = ()


def compare_hashes(
    store: Store | None,
    paths: Mapping[VideoId, Path],
    on_file: OnFile = lambda: None,
    accepted: AcceptedPairs = NONE_ACCEPTED,
) -> DecodedVideos:
    """Find copies that nobody accepted; hashes only count for the file they were computed from.

    Every video with hashes is checked for changes, and read if its identity is new; ``on_file``
    is called for each video.
    """
    stored = {} if store is None else _stored_hashes(store, paths)
    hashed = {video_id: paths[video_id] for video_id, _ in stored}
    for _ in paths.keys() - hashed.keys():
        on_file()
    digests = digest_files(hashed, on_file, store=store)
    current = [stored[key] for key in digests.items() if key in stored]
    hashes = [row for row, _ in current]
    return DecodedVideos(
        groups=tuple(
            group
            for group in groups_of(without_accepted(find_duplicates(hashes), accepted))
            if len({digests[video_id] for video_id in group}) > 1
        ),
        unhashed=frozenset(paths.keys() - {row.video_id for row in hashes}),
        facts=tuple(facts for _, facts in current),
    )


def _stored_hashes(
    store: Store, paths: Mapping[VideoId, Path]
) -> dict[tuple[VideoId, str], tuple[MediaHashRecord, MediaFacts]]:
    """Read the latest hashes and facts, by video and digest of its file."""
    stored: dict[tuple[VideoId, str], tuple[MediaHashRecord, MediaFacts]] = {}
    for variant_path, part in _parts_by_time(store):
        invalidated = read_tombstones(store, variant_path)
        with contextlib.suppress(StoreError):  # written by another version
            facts = {row.video_id: row for row in read_rows(store, variant_path, part, MediaFacts)}
            for row in read_rows(store, variant_path, part, MediaHashRecord):
                video_id = row.video_id
                is_valid = (part.part_id, video_id) not in invalidated and video_id in facts
                if is_valid and video_id in paths:
                    stored[video_id, facts[video_id].source_digest] = row, facts[video_id]
    return stored


def _parts_by_time(store: Store) -> list[tuple[str, Part]]:
    parts = [
        (variant_path, part)
        for variant_path in variant_paths(store)
        if variant_path.startswith(_HASHING_STAGE)
        for part in read_parts(store, variant_path)
    ]
    return sorted(parts, key=lambda pair: (pair[1].created_ns, pair[1].part_id))
