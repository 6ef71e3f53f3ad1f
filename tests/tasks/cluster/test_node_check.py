import sys
from pathlib import Path

import pytest

from storage.store.store import Store
from tasks.cluster.node_check import code_digest, find_fault


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(str(tmp_path / "store"))
    store.write_bytes(".tmp/token", b"")
    return store


def test_a_node_with_the_same_code_store_and_files_has_no_fault(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "tasks.cluster", raising=False)
    fault = find_fault(code_digest(), store.url, ".tmp/token", [store.url], "tasks.cluster")
    assert fault is None
    assert "tasks.cluster" in sys.modules, "the module of its task was not imported"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"code": "another"}, "another version of Waver"),
        ({"token": ".tmp/another"}, "does not see the store"),
        ({"paths": ["/no such folder"]}, "has no '/no such folder'"),
        ({"store_url": "nowhere://"}, "cannot use the store"),
    ],
)
def test_what_a_node_lacks_is_named(store: Store, change: dict, message: str) -> None:
    arguments = {
        "code": code_digest(), "store_url": store.url, "token": ".tmp/token", "paths": [],
        "module": "tasks.cluster",
    }  # fmt: skip
    fault = find_fault(**{**arguments, **change})
    assert fault is not None
    assert message in fault
