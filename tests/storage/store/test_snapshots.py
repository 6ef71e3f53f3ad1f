from pathlib import Path

import pytest

from storage.store.snapshots import Snapshots
from storage.store.store import Store
from storage.store.variant import Variant
from tests.storage.toys import Fact, make, open_toy_variant

EXPECTED = {f"video {n}": f"digest {n}" for n in range(3)}


@pytest.fixture
def variant(tmp_path: Path) -> Variant:
    variant = open_toy_variant(Store(str(tmp_path)))
    make(variant, EXPECTED)
    return variant


def test_a_snapshot_is_kept_while_the_variant_stays_the_same(variant: Variant) -> None:
    snapshots = Snapshots()
    first = snapshots.look(variant, EXPECTED)
    assert first.pending == []
    assert snapshots.look(variant, dict(EXPECTED)) is first
    assert [row.name for row in first.read(Fact)] == list(EXPECTED)


def test_a_part_of_any_process_or_an_invalidation_ends_a_snapshot(variant: Variant) -> None:
    snapshots = Snapshots()
    more = EXPECTED | {"video 3": "digest 3"}
    assert snapshots.look(variant, more).pending == ["video 3"]
    make(open_toy_variant(Store(variant.store.url)), more)
    assert snapshots.look(variant, more).pending == []
    variant.invalidate({"video 1": "digest 1"})
    assert snapshots.look(variant, more).pending == ["video 1"]


def test_snapshots_of_other_items_are_kept_beside(variant: Variant) -> None:
    snapshots = Snapshots()
    some = {"video 1": "digest 1"}
    both = snapshots.look(variant, EXPECTED), snapshots.look(variant, some)
    assert [row.name for row in both[1].read(Fact)] == ["video 1"]
    assert (snapshots.look(variant, EXPECTED), snapshots.look(variant, some)) == both
    assert all(
        a is b
        for a, b in zip(
            both, (snapshots.look(variant, EXPECTED), snapshots.look(variant, some)), strict=True
        )
    )


def test_variants_are_kept_apart(variant: Variant) -> None:
    snapshots = Snapshots()
    other = open_toy_variant(variant.store, crf=23)
    assert snapshots.look(variant, EXPECTED).pending == []
    assert snapshots.look(other, EXPECTED).pending == list(EXPECTED)
