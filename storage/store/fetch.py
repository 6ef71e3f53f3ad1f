"""Local copies of folders that lie in a remote store, for programs that open nothing but files."""

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from storage.errors import StoreError
from storage.fingerprint import digest_file, digest_of
from storage.store.atomic import atomic_folder, remove_abandoned
from storage.store.cache import user_cache_path
from storage.store.disk import writing_to
from storage.store.file_identity import Identity
from storage.store.store import Store

_INDEX = "models"
_State = tuple[int, str]


def local_folder(store: Store, path: str) -> Path:
    """Return a stored folder's local path, after copying it to the user's cache if it is remote.

    The copy is named by the digest of its content, and made once. The store's index keeps the
    digests of objects that have not changed, so that a listing is enough to find the copy.

    Raises:
        StoreError: the folder is missing, or changed while it was copied.
    """
    if store.is_local:
        return Path(store.full_path(path))
    content = _content_of(store, path)
    if not content:
        raise StoreError(f"There is no folder {path!r} in the store {store.url!r}: run again.")
    caches = user_cache_path() / "models"
    folder = caches / digest_of(content)
    if not folder.is_dir():
        store.check_writable()
        with writing_to(str(caches)):
            _fetch(store, path, content, folder)
    return folder


def _content_of(store: Store, path: str) -> dict[str, _State]:
    """Map all files of a folder, however deep, to their size and digest."""
    listed = store.list_tree(path)
    with ThreadPoolExecutor(store.num_threads) as pool:
        digests = pool.map(lambda found: _digest(store, *found), listed.items())
        states = {
            name.removeprefix(f"{path}/"): (identity.size, digest)
            for (name, identity), digest in zip(listed.items(), digests, strict=True)
        }
    store.save_indexes()
    return states


def _digest(store: Store, path: str, identity: Identity) -> str:
    index, started_ns = store.index(_INDEX), time.time_ns()
    if (known := index.known(path, identity)) is not None:
        return known
    state = store.file_state(path, identity.size)
    if state is None:
        raise StoreError(f"{path!r} was removed from {store.url!r} while it was read: run again.")
    is_settled = identity.is_settled(started_ns) and store.identity(path) == identity
    return index.record(path, identity, state[1], is_settled=is_settled)


def _fetch(store: Store, path: str, content: Mapping[str, _State], folder: Path) -> None:
    assert store.remote is not None
    remove_abandoned(folder.parent)
    with atomic_folder(folder, keep_existing=True) as copy:
        for name, state in content.items():
            local = copy / name
            local.parent.mkdir(parents=True, exist_ok=True)
            store.remote.download(f"{path}/{name}", local)
            if (local.stat().st_size, digest_file(local)) != state:
                raise StoreError(
                    f"{path!r} changed while it was copied from {store.url!r}: run again."
                )
