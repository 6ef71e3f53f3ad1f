from pathlib import Path

import pytest

from storage.errors import StoreError
from storage.store.fetch import local_folder
from storage.store.store import Store

FILES = {"config.json": b"{}", "deeper/weights": b"w" * 1_000}


@pytest.fixture
def store(tmp_path, monkeypatch) -> Store:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    store = Store(f"memory://{tmp_path}")
    for name, content in FILES.items():
        store.write_bytes(f"model/{name}", content)
    store.write_bytes("model of another/config.json", b"[]")
    return store


def content_of(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_a_folder_of_a_remote_store_is_copied_whole_to_the_cache(store, tmp_path):
    folder = local_folder(store, "model")
    assert folder.parent == tmp_path / "caches" / "waver" / "models"
    assert content_of(folder) == FILES


def test_a_copy_is_fetched_once_for_its_content(store, monkeypatch):
    first = local_folder(store, "model")
    with monkeypatch.context() as patch:
        patch.setattr(type(store.fs), "get_file", None)
        assert local_folder(Store(store.url), "model") == first
    store.write_bytes("model/config.json", b"[]")
    other = local_folder(store, "model")
    assert other != first
    assert content_of(other) == FILES | {"config.json": b"[]"}
    assert content_of(first) == FILES


def test_a_fetch_that_fails_leaves_no_copy(store, monkeypatch, tmp_path):
    get_file = type(store.fs).get_file

    def half(self, source, destination, **options):
        get_file(self, source, destination, **options)
        Path(destination).write_bytes(b"half")

    with monkeypatch.context() as patch:
        patch.setattr(type(store.fs), "get_file", half)
        with pytest.raises(StoreError, match=r"changed while it was copied .*run again"):
            local_folder(store, "model")
    assert content_of(tmp_path / "caches") == {}
    assert content_of(local_folder(store, "model")) == FILES


def test_a_missing_folder_is_reported(store):
    with pytest.raises(StoreError, match=r"There is no folder .nowhere. in the store .memory://"):
        local_folder(store, "nowhere")
