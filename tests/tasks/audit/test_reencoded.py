import random
from pathlib import Path

import pytest

from storage.fingerprint import digest_file
from storage.records import MediaHashRecord, VideoId
from storage.store.store import Store
from storage.store.variant import ItemOutput, Variant, open_variant
from tasks.audit.reencoded import compare_hashes
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


def a_hash(video_id: str, looks: int) -> MediaHashRecord:
    draw = random.Random(looks)
    video = tuple(draw.getrandbits(63) for _ in range(60))
    audio = tuple(draw.getrandbits(32) for _ in range(240))
    return MediaHashRecord(video_id=VideoId(video_id), video=video, audio=audio)


def segment(store: Store, paths: dict[VideoId, Path], looks: dict[str, int], **settings) -> Variant:
    """Keep prints of videos, as cutting them would; equal numbers look and sound the same."""
    variant = open_variant(store, "segment", version=1, settings=settings)
    expected = {name: digest_file(paths[name]) for name in looks}
    outputs = [
        ItemOutput(
            item_id=name,
            rows=(a_hash(name, number), media_facts(name, source_digest=expected[name])),
        )
        for name, number in looks.items()
    ]
    variant.commit(outputs, expected)
    return variant


TWINS = {"a.mp4": 1, "again.mp4": 1, "other.mp4": 2}


def test_videos_that_look_and_audio_the_same_are_one_group(store, paths):
    segment(store, paths, TWINS)
    seen = compare_hashes(store, paths)
    assert seen.groups == (("a.mp4", "again.mp4"),)
    assert seen.unhashed == frozenset()


def test_prints_of_any_way_of_cutting_serve_and_those_missing_are_told(store, paths):
    segment(store, paths, {"a.mp4": 1}, max_segment_ms=5000)
    segment(store, paths, {"again.mp4": 1}, max_segment_ms=3000)
    seen = compare_hashes(store, paths)
    assert seen.groups == (("a.mp4", "again.mp4"),)
    assert seen.unhashed == {"other.mp4"}


def test_without_a_store_or_prints_nothing_is_compared(store, paths):
    for empty in (None, store):
        seen = compare_hashes(empty, paths)
        assert (seen.groups, seen.unhashed) == ((), frozenset(paths))


def test_a_print_of_what_the_file_held_before_makes_no_twin(store, paths):
    segment(store, paths, TWINS)
    paths[VideoId("again.mp4")].write_text("another recording")
    seen = compare_hashes(store, paths)
    assert (seen.groups, seen.unhashed) == ((), {"again.mp4"})


def test_a_video_whose_file_was_replaced_counts_as_unprinted_though_nothing_looked_alike(
    store, paths
):
    segment(store, paths, {"a.mp4": 1, "again.mp4": 3, "other.mp4": 2})
    paths[VideoId("again.mp4")].write_text("a.mp4, encoded again")
    done: list[None] = []
    seen = compare_hashes(store, paths, lambda: done.append(None))
    assert (seen.groups, seen.unhashed, len(done)) == ((), {"again.mp4"}, 3)


def test_a_file_that_is_put_back_has_its_print_again(store, paths):
    path = paths[VideoId("again.mp4")]
    segment(store, paths, TWINS)
    before = path.read_text()
    path.write_text("another recording")
    segment(store, paths, {"again.mp4": 3})
    path.write_text(before)
    assert compare_hashes(store, paths).groups == (("a.mp4", "again.mp4"),)


def test_files_of_the_same_content_are_no_recording_encoded_again(store, paths):
    paths[VideoId("again.mp4")].write_bytes(paths[VideoId("a.mp4")].read_bytes())
    segment(store, paths, TWINS)
    assert compare_hashes(store, paths).groups == ()


def test_the_newest_print_counts_and_one_that_was_taken_back_does_not(store, paths):
    variant = segment(store, paths, {"a.mp4": 2, "again.mp4": 1})
    segment(store, paths, {"a.mp4": 1})
    assert compare_hashes(store, paths).groups == (("a.mp4", "again.mp4"),)
    variant.invalidate({"again.mp4": digest_file(paths[VideoId("again.mp4")])})
    seen = compare_hashes(store, paths)
    assert seen.groups == ()
    assert seen.unhashed == {"again.mp4", "other.mp4"}
