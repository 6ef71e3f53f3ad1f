from pathlib import Path

import pytest

from storage.store.cache import cache_path_of, remove_cache, user_cache_path
from storage.store.store import Store


def test_a_local_store_has_its_cache_inside_and_can_lose_it(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"))
    cache = cache_path_of(store)
    assert cache.is_relative_to(tmp_path / "store")
    store.write_bytes("results", b"kept")
    cache.mkdir()
    (cache / "merged").write_bytes(b"computed again when needed")
    remove_cache(store)
    assert not cache.exists()
    with store.open("results") as stream:
        assert stream.read() == b"kept"


def test_a_remote_store_is_cached_in_the_user_s_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_path_of(Store(f"memory://{tmp_path}")) == tmp_path / "waver"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_cache_path() == tmp_path / ".cache" / "waver"
