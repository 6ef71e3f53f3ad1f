"""Lists of files in a folder of this node."""

import os
from pathlib import Path

from storage.store.file_identity import Identity, identity_of


def list_folder(root: str, path: str) -> list[str]:
    """List the files directly in a folder below a root, sorted; empty if there is no such folder.

    Paths are relative to the root.
    """
    try:
        with os.scandir(f"{root}/{path}") as found:
            return sorted(f"{path}/{entry.name}" for entry in found if entry.is_file())
    except (FileNotFoundError, NotADirectoryError):
        return []


def list_tree(root: str, path: str) -> dict[str, Identity]:
    """Map all files below a folder of a root, sorted, to their identities."""
    files = (file for file in sorted(Path(root, path).rglob("*")) if file.is_file())
    return {file.relative_to(root).as_posix(): identity_of(file) for file in files}
