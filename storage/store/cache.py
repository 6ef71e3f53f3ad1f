"""Files that can be computed again: a folder of the store, or of the user's cache."""

import os
from pathlib import Path

from storage.store.store import CACHE_FOLDER, Store


def cache_path_of(store: Store) -> Path:
    """Return the local cache folder: inside a local store, else in the user's cache."""
    return Path(store.full_path(CACHE_FOLDER)) if store.is_local else user_cache_path()


def remove_cache(store: Store) -> None:
    """Remove a store's cache folder; user caches on other nodes stay."""
    store.remove(CACHE_FOLDER)


def user_cache_path() -> Path:
    """Return the folder of this user's cached files, under `$XDG_CACHE_HOME` or `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "waver"
