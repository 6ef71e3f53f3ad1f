from pathlib import Path

import pytest

from storage.store.store import Store
from storage.store.variant import open_variant
from storage.store.variants import VariantIdentity, parse_identity, read_identity, variant_ids


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store(str(tmp_path) if request.param == "local" else f"memory://{tmp_path}")


def test_variants_are_listed_with_what_identifies_them(store: Store) -> None:
    opened = [
        open_variant(store, "manifest", version=2, settings={"crf": crf}, upstream=("a", "b"))
        for crf in (20, 23)
    ]
    assert variant_ids(store, "manifest") == sorted(variant.variant_id for variant in opened)
    assert variant_ids(store, "infer") == []
    path = opened[0].path
    identity = VariantIdentity(path=path, version=2, settings={"crf": 20}, upstream=("a", "b"))
    assert read_identity(store, path) == identity
    assert parse_identity(path, opened[0].identity) == identity
    assert (identity.stage, identity.variant_id) == ("manifest", opened[0].variant_id)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b'{"version": "x"}'])
def test_a_missing_or_damaged_identity_is_none(content: bytes, store: Store) -> None:
    assert read_identity(store, "segment/none") is None
    store.write_bytes("segment/one/variant.json", content)
    assert read_identity(store, "segment/one") is None


def test_a_variant_that_is_only_read_is_not_created(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "none"), read_only=True)
    variant = open_variant(store, "segment", version=1, settings={})
    assert variant.pending({"a": "digest"}) == ["a"]
    assert not (tmp_path / "none").exists()
