"""What a store's URL names, before the store is opened."""

from pathlib import Path

import fsspec

from storage.errors import ConfigError
from storage.store.disk import creating


def local_root(url: str) -> Path | None:
    """Return the local folder that a store's URL names, or ``None`` if it is remote.

    Raises:
        ConfigError: the URL is empty, or contains a NUL byte.
    """
    protocol, path = fsspec.core.split_protocol(url)
    if protocol not in (None, "file", "local"):
        return None
    if not path.strip():
        raise ConfigError(f"The store's path is empty ({url!r}): name a folder with --store.")
    if "\0" in path:
        raise ConfigError(f"The store {url!r} contains a NUL byte: name another with --store.")
    return Path(path)


def is_missing(url: str) -> bool:
    """Return whether a URL names a local folder that does not exist, without creating it.

    Raises:
        ConfigError: as `local_root`.
        StoreError: the folder's parents cannot be read.
    """
    root = local_root(url)
    if root is None:
        return False
    with creating(url):
        return not root.is_dir()
