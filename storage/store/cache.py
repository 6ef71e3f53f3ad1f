"""Locations of local cache folders, for files that can be computed again."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from storage.store.store import Store

CACHE_FOLDER = ".cache"


def cache_path_of(store: "Store") -> Path:
    """Return the local cache folder of a store: inside it if it is local, else the user's."""
    return Path(store.full_path(CACHE_FOLDER)) if store.is_local else user_cache_path()


def user_cache_path() -> Path:
    """Return the user's cache folder, which ``XDG_CACHE_HOME`` moves."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "waver"
