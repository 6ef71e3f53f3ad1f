from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import StoreError
from storage.store.part import read_parts, table_path
from storage.store.snapshot import Snapshot
from storage.store.store import Store
from storage.store.variant import Variant
from tests.storage.toys import Fact, Row, make, open_toy_variant

EXPECTED = {f"video {n}": f"digest {n}" for n in range(6)}


@pytest.fixture(scope="module")
def variant(tmp_path_factory: pytest.TempPathFactory) -> Variant:
    variant = open_toy_variant(Store(str(tmp_path_factory.mktemp("store"))))
    make(variant, dict(list(EXPECTED.items())[:2]))
    make(variant, dict(list(EXPECTED.items())[:5]))
    return variant


@given(items=st.lists(st.sampled_from(sorted(EXPECTED)), unique=True))
def test_the_rows_of_the_finished_items_come_in_the_given_order(
    variant: Variant, items: list[str]
) -> None:
    snapshot = variant.look({item: EXPECTED[item] for item in items})
    finished = [item for item in items if item != "video 5"]
    assert isinstance(snapshot, Snapshot)
    assert snapshot.pending == [item for item in items if item == "video 5"]
    assert [fact.name for fact in snapshot.read(Fact)] == finished
    assert snapshot.table(Fact)["_item_id"].to_pylist() == finished
    assert snapshot.table(Fact)["_input_digest"].to_pylist() == [EXPECTED[i] for i in finished]


def test_a_table_damaged_since_the_snapshot_is_an_error_and_no_wrong_rows(tmp_path: Path) -> None:
    variant = open_toy_variant(Store(str(tmp_path)))
    make(variant, EXPECTED)
    snapshot = variant.look(EXPECTED)
    part = next(iter(read_parts(variant.store, variant.path)))
    (tmp_path / table_path(variant.path, part.part_id, Row.__name__)).write_bytes(b"PAR1")
    with pytest.raises(StoreError, match="damaged or was removed"):
        snapshot.read(Row)
    assert len(snapshot.read(Fact)) == len(EXPECTED)
    assert variant.look(EXPECTED).pending == list(part.items)
