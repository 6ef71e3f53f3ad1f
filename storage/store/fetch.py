"""Local copies of folders that lie in a remote store, for programs that open nothing but files."""

from collections.abc import Mapping
from pathlib import Path

from storage.errors import StoreError
from storage.fingerprint import digest_file, digest_of
from storage.store.atomic import atomic_folder, remove_abandoned
from storage.store.cache import user_cache_path
from storage.store.disk import writing_to
from storage.store.store import Store

_State = tuple[int, str]


def local_folder(store: Store, path: str) -> Path:
    """Return a stored folder's local path, after copying it to the user's cache if it is remote.

    The copy is named by the digest of its content, and made once.

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
    store.fs.invalidate_cache()
    above = store.full_path(path) + "/"
    names = sorted(found.removeprefix(above) for found in store.fs.find(store.full_path(path)))
    states = {name: store.file_state(f"{path}/{name}") for name in names}
    return {name: state for name, state in states.items() if state is not None}


def _fetch(store: Store, path: str, content: Mapping[str, _State], folder: Path) -> None:
    remove_abandoned(folder.parent)
    with atomic_folder(folder, keep_existing=True) as copy:
        for name, state in content.items():
            local = copy / name
            local.parent.mkdir(parents=True, exist_ok=True)
            store.fs.get_file(store.full_path(f"{path}/{name}"), str(local))
            if (local.stat().st_size, digest_file(local)) != state:
                raise StoreError(
                    f"{path!r} changed while it was copied from {store.url!r}: run again."
                )
