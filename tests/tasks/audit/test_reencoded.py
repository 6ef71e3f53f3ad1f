import random
from pathlib import Path

import pytest

from storage.fingerprint import digest_file
from storage.media_records import MediaHashRecord
from storage.records import VideoId
from storage.store.store import Store
from storage.store.variant import ItemOutput, Variant, open_variant
from tasks.audit.reencoded import compare_hashes
from tasks.media.perceptual_hash import AUDIO_HASH_RATE
from tests.builders import media_facts


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(str(tmp_path / "store"))


@pytest.fixture
def paths(tmp_path) -> dict[VideoId, Path]:
    names = ("a.mp4", "again.mp4", "other.mp4")
    for name in names:
        (tmp_path / name).write_text(f"content of {name}")
    return {VideoId(name): tmp_path / name for name in names}


def a_hash(video_id: str, seed: int) -> MediaHashRecord:
    rng = random.Random(seed)
    words = [rng.getrandbits(64) for _ in range(10 * AUDIO_HASH_RATE)]
    audio = b"".join(word.to_bytes(8, "little") for word in words)
    return MediaHashRecord(video_id=VideoId(video_id), motion=b"", audio=audio)


def segment(store: Store, paths: dict[VideoId, Path], seeds: dict[str, int], **settings) -> Variant:
    """Store hashes of videos as the segment stage does; equal seeds have equal hashes."""
    variant = open_variant(store, "segment", version=1, settings=settings)
    expected = {name: digest_file(paths[name]) for name in seeds}
    outputs = [
        ItemOutput(
            item_id=name,
            rows=(a_hash(name, seed), media_facts(name, source_digest=expected[name])),
        )
        for name, seed in seeds.items()
    ]
    variant.commit(outputs, expected)
    return variant


COPIES = {"a.mp4": 1, "again.mp4": 1, "other.mp4": 2}


def test_videos_with_equal_hashes_are_one_group(store, paths):
    segment(store, paths, COPIES)
    compared = compare_hashes(store, paths)
    assert compared.groups == (("a.mp4", "again.mp4"),)
    assert compared.unhashed == frozenset()


def test_hashes_of_any_segment_variant_are_used_and_missing_ones_are_reported(store, paths):
    segment(store, paths, {"a.mp4": 1}, max_segment_ms=5000)
    segment(store, paths, {"again.mp4": 1}, max_segment_ms=3000)
    compared = compare_hashes(store, paths)
    assert compared.groups == (("a.mp4", "again.mp4"),)
    assert compared.unhashed == {"other.mp4"}


def test_nothing_is_compared_without_a_store_or_hashes(store, paths):
    for empty in (None, store):
        compared = compare_hashes(empty, paths)
        assert (compared.groups, compared.unhashed) == ((), frozenset(paths))


def test_hashes_of_former_content_are_not_used(store, paths):
    segment(store, paths, COPIES)
    paths[VideoId("again.mp4")].write_text("another recording")
    compared = compare_hashes(store, paths)
    assert (compared.groups, compared.unhashed) == ((), {"again.mp4"})


def test_replaced_file_counts_as_unhashed(store, paths):
    segment(store, paths, {"a.mp4": 1, "again.mp4": 3, "other.mp4": 2})
    paths[VideoId("again.mp4")].write_text("a.mp4, re-encoded")
    calls: list[None] = []
    compared = compare_hashes(store, paths, lambda: calls.append(None))
    assert (compared.groups, compared.unhashed, len(calls)) == ((), {"again.mp4"}, 3)


def test_restored_file_has_its_hashes_again(store, paths):
    path = paths[VideoId("again.mp4")]
    segment(store, paths, COPIES)
    before = path.read_text()
    path.write_text("another recording")
    segment(store, paths, {"again.mp4": 3})
    path.write_text(before)
    assert compare_hashes(store, paths).groups == (("a.mp4", "again.mp4"),)


def test_identical_files_are_not_reencoded_copies(store, paths):
    paths[VideoId("again.mp4")].write_bytes(paths[VideoId("a.mp4")].read_bytes())
    segment(store, paths, COPIES)
    assert compare_hashes(store, paths).groups == ()


def test_latest_hashes_count_and_invalidated_ones_do_not(store, paths):
    variant = segment(store, paths, {"a.mp4": 2, "again.mp4": 1})
    segment(store, paths, {"a.mp4": 1})
    assert compare_hashes(store, paths).groups == (("a.mp4", "again.mp4"),)
    variant.invalidate({"again.mp4": digest_file(paths[VideoId("again.mp4")])})
    compared = compare_hashes(store, paths)
    assert compared.groups == ()
    assert compared.unhashed == {"again.mp4", "other.mp4"}
